"""What commands share: many sentences are printed at once, each on its own line."""

from ablab.cli.common import say, say_each


def test_many_sentences_are_printed_as_one_by_one(capsys):
    texts = [f"run {number}: a\x1bproblem" for number in range(2_500)]
    say_each(iter(texts), 2)
    at_once = capsys.readouterr().out
    for text in texts:
        say(text, 2)
    assert at_once == capsys.readouterr().out
    assert at_once.count("\n") == len(texts)


def test_no_sentences_are_no_line(capsys):
    say_each([])
    assert capsys.readouterr().out == ""
