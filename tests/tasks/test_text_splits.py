"""Parts of a text that are held out by name."""

import numpy as np
import pytest

from ablab.tasks.text import Text
from ablab.tasks.text_config import TextConfig

LETTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 200)))  # 200 distinct characters
SHARES = {"validation": 0.1, "test": 0.2}


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text.txt").write_text(LETTERS, encoding="utf-8")
    (tmp_path / "other.txt").write_text("xyz" * 10 + LETTERS[5:9], encoding="utf-8")
    return tmp_path / "text.txt"


def config(corpus, **settings):
    return TextConfig(**({"corpus": str(corpus), "seq_len": 5} | settings))


def letters(task, batch):
    """The text from the beginning of the first window to the end of the last one."""
    return task.text(np.append(batch.tokens[0], batch.targets[0, -1:])), task.text(
        batch.targets[-1]
    )


def test_shares_are_cut_from_the_end_in_their_order(corpus):
    task = Text(config(corpus, splits=SHARES, eval_lengths=[10]))
    sets = task.evaluation_sets(1000)
    assert list(sets) == ["", "length_10", "test", "test_length_10"]
    assert letters(task, sets[""]) == (LETTERS[140:146], LETTERS[155:160])
    assert letters(task, sets["length_10"])[0] == LETTERS[140:151]
    assert letters(task, sets["test"]) == (LETTERS[160:166], LETTERS[195:200])
    assert len(sets["test"].tokens) == 35
    assert sets["test_length_10"].tokens.shape == (30, 10)
    seen = task.draw(0, 1, 20, 30)
    assert set(task.text(seen.targets.ravel())) == set(LETTERS[1:140])
    assert task.config.train_size == task.windows == 135


def test_another_split_can_be_the_main_one(corpus):
    task = Text(config(corpus, splits=SHARES, held_out="test"))
    sets = task.evaluation_sets(1000)
    assert list(sets) == ["", "validation"]
    assert letters(task, sets[""])[0] == LETTERS[160:166]


def test_a_split_can_be_a_file_with_characters_of_its_own(corpus):
    other = str(corpus.parent / "other.txt")
    task = Text(config(corpus, splits={"test": other}))
    assert task.windows == 195  # all of the corpus is trained on
    assert task.config.vocab_size == 204
    text = (corpus.parent / "other.txt").read_text(encoding="utf-8")
    assert letters(task, task.held_out(1000)) == (text[:6], text[-5:])
    mixed = Text(config(corpus, splits={"test": other, "validation": 0.1}))
    assert mixed.windows == 175
    assert letters(mixed, mixed.evaluation_sets(1000)["validation"])[0] == LETTERS[180:186]


def test_a_subword_tokenizer_is_trained_on_the_training_part_alone(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 60 + "zebra " * 40)
    settings = {"tokenizer": "bpe", "bpe_size": 260, "splits": {"test": 0.2, "last": 0.1}}
    task = Text(config(tmp_path / "a.txt", **settings))
    assert "zebra" not in task.config.subwords_json
    assert "zebra" in task.text(task.evaluation_sets(1000)["last"].tokens.ravel())
    plain = Text(config(tmp_path / "a.txt", **settings | {"splits": {}, "held_out": 0.3}))
    np.testing.assert_array_equal(task.draw(3, 1, 4, 8).tokens, plain.draw(3, 1, 4, 8).tokens)


def test_splits_enter_the_id_by_content(corpus):
    other = corpus.parent / "other.txt"
    copy = corpus.parent / "copy.txt"
    copy.write_bytes(other.read_bytes())
    assert "splits" not in config(corpus).identity()
    one, two = (config(corpus, splits={"test": str(path)}).identity() for path in (other, copy))
    assert one == two
    ids = [config(corpus, splits=splits).identity() for splits in
           (SHARES, dict(reversed(SHARES.items())), {"test": 0.3}, {"last": 0.3})]  # fmt: skip
    assert all(a != b for n, a in enumerate([one, *ids]) for b in [one, *ids][:n])
    main = [config(corpus, splits=SHARES, held_out=name).identity() for name in SHARES]
    assert main[0] != main[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": "test"}, "not a share between 0 and 1; a name needs splits"),
        ({"held_out": 1.0}, "not a share between 0 and 1"),
        ({"splits": SHARES, "held_out": "train"}, "not one of splits: validation, test"),
        ({"splits": {"train": 0.1}}, "splits.train is not a valid name"),
        ({"splits": {"length_8": 0.1}}, "splits.length_8 is not a valid name"),
        ({"splits": {"a": 0.5, "b": 0.5}}, "nothing is left to train"),
        ({"splits": {"a": 2}}, "splits.a 2.0 is not a share"),
    ],
)
def test_splits_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        TextConfig(**settings)


def test_a_split_that_is_too_short(corpus):
    short = config(corpus, splits={"validation": 0.1, "test": 0.03}, eval_lengths=[9])
    with pytest.raises(ValueError, match="test has 6 characters, but the longest input has 9"):
        Text(short)
