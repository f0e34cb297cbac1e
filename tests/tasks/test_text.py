import doctest

import numpy as np
import pytest

import ablab.tasks.text
from ablab.tasks.text import PADDING, Text
from ablab.tasks.text_config import TextConfig


@pytest.fixture
def short(tmp_path):
    """A text of 200 different windows."""
    path = tmp_path / "short.txt"
    path.write_text("".join(chr(0x4E00 + i) for i in range(200)), encoding="utf-8")
    return TextConfig(corpus=str(path), seq_len=5, held_out=0.2)


def test_an_epoch_visits_every_window_once(short):
    task = Text(short)
    assert task.windows == short.train_size == 155
    batch = task.draw(seed=3, first_step=1, steps=31, batch_size=5)
    windows = batch.tokens.reshape(-1, 5)
    assert len(windows) == 155
    assert sorted(windows[:, 0].tolist()) == list(range(1, 156))
    assert (np.diff(windows, axis=1) == 1).all()
    assert (batch.targets == batch.tokens + 1).all()


def test_the_next_epoch_has_another_order(short):
    task = Text(short)
    first = task.draw(0, 1, 31, 5).tokens.reshape(-1, 5)
    second = task.draw(0, 32, 31, 5).tokens.reshape(-1, 5)
    assert sorted(map(tuple, first)) == sorted(map(tuple, second))
    assert not (first == second).all()


def test_train_and_held_out_text_never_overlap(short):
    task = Text(short)
    trained = task.draw(0, 1, 31, 5)
    held_out = task.held_out(1000)
    seen = set(trained.tokens.ravel()) | set(trained.targets.ravel())
    kept = set(held_out.tokens.ravel()) | set(held_out.targets.ravel())
    assert not seen & kept
    assert seen | kept == set(range(1, 201))


def test_a_small_held_out_sample_is_spread_evenly(short):
    task = Text(short)
    starts = task.held_out(3).tokens[:, 0]
    assert starts.tolist() == [161, 178, 195]


def test_tokens_and_text_are_each_others_inverse(short):
    task = Text(short)
    tokens = task.tokens("丁一丂")
    assert PADDING not in tokens
    assert task.text(np.concatenate([[PADDING], tokens])) == "丁一丂"
    with pytest.raises(ValueError, match="no character 'x'"):
        task.tokens("x")


def test_sizes_of_tinyshakespeare(tinyshakespeare):
    config = TextConfig(corpus=tinyshakespeare, seq_len=64)
    assert config.vocab_size == 66  # 65 characters and padding, as in the Shakespeare logbook
    assert config.train_characters == 1_003_855
    task = Text(config)
    assert task.windows == 1_003_855 - 64
    assert task.text(task.held_out(1).tokens[0]).startswith("\n\nGREMIO:\nGood morrow")


def test_the_corpus_enters_the_identity_by_content_not_by_place(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("abcdefghij" * 20)
    (tmp_path / "c.txt").write_text("abcdefghik" * 20)
    a, b, c = (
        TextConfig(corpus=str(tmp_path / name), seq_len=4).identity()
        for name in ("a.txt", "b.txt", "c.txt")
    )
    assert a == b
    assert a != c


def test_the_example_in_its_documentation():
    found = doctest.testmod(ablab.tasks.text)
    assert found.attempted > 0
    assert found.failed == 0


def test_tokens_number_the_sorted_characters_from_one(tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_text("zé\n丂a🙂 az" * 30, encoding="utf-8")
    config = TextConfig(corpus=str(path), seq_len=8, held_out=0.5)
    content = path.read_text(encoding="utf-8")
    _, places = np.unique(list(content), return_inverse=True)
    held_out = Text(config).held_out(1)
    start = config.train_characters
    np.testing.assert_array_equal(held_out.tokens[0], places[start : start + 8] + 1)
    assert Text(config).text(held_out.tokens[0]) == content[start : start + 8]
