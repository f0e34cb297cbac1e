import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablab.tasks.random import (
    MAX_SEED,
    Stream,
    integers,
    permuted,
    scaled,
    wide_integers,
    words,
)


def test_the_stream_never_changes():
    # Written down once: every stored run's batches hang on these words.
    assert words(0, Stream.BATCH, 1, 1, 2).tolist() == GOLDEN_WORDS
    assert integers(7, Stream.BATCH, 3, 1, 8, 10).tolist() == GOLDEN_DIGITS


@given(
    seed=st.integers(0, MAX_SEED),
    first=st.integers(0, 10**6),
    rows=st.integers(1, 5),
    count=st.integers(1, 20),
)
def test_a_row_is_the_same_however_many_are_drawn(seed, first, rows, count):
    together = words(seed, Stream.DROPOUT, first, rows, count)
    alone = [words(seed, Stream.DROPOUT, first + r, 1, count)[0] for r in range(rows)]
    np.testing.assert_array_equal(together, alone)


def test_seeds_streams_and_positions_differ():
    drawn = [
        words(seed, stream, first, 1, 4).tobytes()
        for seed in (0, 1, MAX_SEED)
        for stream in Stream
        for first in (0, 1, 10**9)
    ]
    assert len(set(drawn)) == len(drawn)


def test_integers_are_uniform():
    drawn = integers(3, Stream.BATCH, 0, 100, 1000, 10)
    counts = np.bincount(drawn.ravel(), minlength=10)
    # chi-squared with 9 degrees of freedom: below 33.7 with probability 0.9999
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 33.7


@given(size=st.integers(1, 2000), seed=st.integers(0, MAX_SEED), epoch=st.integers(0, 50))
def test_a_permutation_visits_everything_once(size, seed, epoch):
    positions = np.arange(size)
    found = permuted(seed, np.full(size, epoch), positions, size)
    np.testing.assert_array_equal(np.sort(found), positions)


def test_permutations_of_epochs_and_seeds_differ_and_look_random():
    size = 5000
    positions = np.arange(size)
    one = permuted(0, np.zeros(size, dtype=np.int64), positions, size)
    for other in (
        permuted(0, np.ones(size, dtype=np.int64), positions, size),
        permuted(1, np.zeros(size, dtype=np.int64), positions, size),
        positions,
    ):
        # Of a random permutation about one element stays; the correlation's deviation is 1/71.
        assert (one == other).sum() < 10
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.06


def test_a_position_is_permuted_alike_alone_and_in_company():
    epochs = np.array([0, 0, 1, 2])
    positions = np.array([5, 99, 5, 0])
    together = permuted(4, epochs, positions, 100)
    alone = [permuted(4, epochs[i : i + 1], positions[i : i + 1], 100)[0] for i in range(4)]
    assert together.tolist() == alone


@given(word=st.integers(0, 2**64 - 1), below=st.integers(1, 2**32))
def test_a_word_is_scaled_by_the_high_part_of_its_product(word, below):
    assert scaled(np.array([word], dtype=np.uint64), below).tolist() == [word * below >> 64]


def test_wide_integers_are_uniform_and_reach_both_ends():
    drawn = wide_integers(3, Stream.BATCH, 0, 10, 1000, 7)
    counts = np.bincount(drawn.ravel(), minlength=7)
    # chi-squared with 6 degrees of freedom: below 27.9 with probability 0.9999
    assert ((counts - 10_000 / 7) ** 2 / (10_000 / 7)).sum() < 27.9


@pytest.mark.parametrize("below", [2, 10, 36])
def test_integers_stay_below_their_bound(below):
    drawn = integers(0, Stream.BATCH, 0, 10, 999, below)
    assert drawn.min() == 0
    assert drawn.max() == below - 1
    assert drawn.shape == (10, 999)


GOLDEN_WORDS = [[13008555726918767727, 5037310111975314470]]
GOLDEN_DIGITS = [[3, 0, 1, 3, 1, 9, 0, 1]]
