import pytest

from ablab.logbook.glossary import GLOSSARY, explained, source_words


def test_only_words_that_a_page_uses_are_explained():
    page = "<p>Two <b>spikes</b>, and a <i title='plateau'>rise</i>.</p><script>floor</script>"
    assert list(explained(page)) == ["spike"]
    assert explained(page)["spike"] == GLOSSARY["spike"]
    assert explained("A highway and a spiked drink.") == {}


def test_levels_and_terms_of_statistics_are_explained():
    page = "<p>It leaves log 10, log(10); adjusted p 0.02, as step^-0.5, by Welch&#39;s test.</p>"
    found = explained(page)
    assert list(found) == ["adjusted p", "leaves", "log 10", "step^", "Welch's test"]
    assert found["log 10"] == "2.303, the loss of guessing among 10 equally likely values."


@pytest.mark.parametrize("text", ["log 0", "log(0)", "log 1", "log 0.5", "log 2.5", "log 007"])
def test_only_whole_numbers_above_one_are_levels_of_guessing(text):
    assert explained(f"The notes speak of {text} here.") == {}


def test_a_large_level_stands_as_it_is_written():
    assert explained("log(1234567), not log 1e3") == {
        "log 1234567": "14.03, the loss of guessing among 1234567 equally likely values."
    }


def test_held_out_is_not_a_verdict():
    assert explained("The held-out loss of held-out samples.") == {}
    assert list(explained("The held-out loss: held.")) == ["held"]


def test_the_glossary_is_in_alphabetical_order():
    assert list(GLOSSARY) == sorted(GLOSSARY)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("(001, Q1)", "(logbook 001, question 1)"),
        ("2.4542 (004, 3)", "2.4542 (logbook 004, section 3)"),
        ("001, Q2, conclusions", "logbook 001, question 2, conclusions"),
        ("the modular-addition analysis that 001 reads",
         "the modular-addition analysis that logbook 001 reads"),
        ("002, 18 December", "logbook 002, 18 December"),
        ("about 0.001 of 1001 steps", "about 0.001 of 1001 steps"),
        ("by 1,500 of 25,000 steps", "by 1,500 of 25,000 steps"),
    ],
)  # fmt: skip
def test_sources_are_written_out(source, words):
    assert source_words(source) == words
