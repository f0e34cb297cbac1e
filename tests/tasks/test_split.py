import itertools

import numpy as np
import pytest

from ablab.tasks.random import Stream, words
from ablab.tasks.split import Split, distinct


def all_rows(split):
    """Every sequence of a space, made one by one."""
    rows = []
    for length in range(split.shortest, split.longest + 1):
        for row in itertools.product(range(split.below), repeat=length):
            rows.append([*row, *[split.below] * (split.longest - length)])
    return np.array(rows)


def splitmix(value):
    """SplitMix64's finaliser in Python's own integers."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_the_side_is_the_hash_worked_in_whole_numbers():
    split = Split(0.3, 7, 5, 5)
    rows = all_rows(split)[::97]
    expected = []
    for row in rows.tolist():
        value = 0x61626C6162000001
        for token in row:
            value = splitmix(((value ^ token) + 0x9E3779B97F4A7C15) % 2**64)
        expected.append(value / 2**64 < 0.3)
    assert split.is_held_out(rows).tolist() == expected


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_is_what_was_asked(share):
    split = Split(share, 3, 8, 8)
    found = split.is_held_out(all_rows(split)).mean()
    assert abs(found - share) < 4 * (share * (1 - share) / split.size) ** 0.5


@pytest.mark.parametrize("held_out", [True, False])
@pytest.mark.parametrize(
    "split", [Split(0.1, 2, 8, 8), Split(0.99, 10, 3, 3), Split(0.5, 2, 9, 1)], ids=str
)
def test_every_sequence_ends_on_the_right_side(split, held_out):
    rows = all_rows(split)[None]
    moved = split.on_side(rows, 3, 1, held_out)
    assert (split.is_held_out(moved) == held_out).all()
    stays = split.is_held_out(rows) == held_out
    assert (moved[stays] == rows[stays]).all()
    assert {tuple(row) for row in moved[0].tolist()} <= {tuple(row) for row in rows[0].tolist()}


def test_what_no_draw_finds_is_found_by_counting_up():
    # So few sequences are on the wanted side that most rows are drawn 64 times in vain.
    split = Split(0.01, 2, 6, 1)
    rows = all_rows(split)
    targets = {tuple(row) for row in rows[split.is_held_out(rows)].tolist()}
    assert 0 < len(targets) < 5
    moved = split.on_side(rows[None], 0, 1, held_out=True)[0]
    assert {tuple(row) for row in moved.tolist()} == targets


def test_counting_up_visits_every_sequence():
    split = Split(0.5, 3, 4, 2)
    row, seen = np.array([[2, 2, 3, 3]]), []
    for _ in range(split.size):
        row = split._following(row)
        seen.append(tuple(row[0].tolist()))
    assert sorted(seen) == sorted(map(tuple, all_rows(split).tolist()))
    assert seen[0] == (0, 0, 0, 3)


def test_replacements_are_spread_over_the_side():
    split = Split(0.5, 2, 8, 8)
    wanted = {tuple(row) for row in all_rows(split)[~split.is_held_out(all_rows(split))].tolist()}
    drawn = (words(0, Stream.BATCH, 1, 100, 8 * 100) % 2).astype(np.int64).reshape(100, 100, 8)
    found = split.on_side(drawn, 0, 1, held_out=False).reshape(-1, 8)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == len(wanted)
    # Poisson with mean 10,000 / 128 = 78: five deviations are 44.
    assert counts.min() > 34
    assert counts.max() < 122


def test_a_row_is_settled_alike_alone_and_in_company():
    split = Split(0.7, 4, 5, 2)
    rows = np.resize(all_rows(split), (6, 50, 5))
    together = split.on_side(rows, 5, 10, held_out=False)
    alone = [split.on_side(rows[[i]], 5, 10 + i, held_out=False)[0] for i in range(6)]
    np.testing.assert_array_equal(together, alone)
    assert not (together == split.on_side(rows, 6, 10, held_out=False)).all()


def test_a_space_that_cannot_be_split_is_named():
    assert "only 16 distinct samples" in str(Split(0.1, 2, 4, 4).problem())
    assert "too few on one side" in str(Split(0.001, 2, 7, 7).problem())
    assert "too few on one side" in str(Split(0.999, 26, 3, 3).problem())
    assert "too close to 0" in str(Split(1e-9, 10, 20, 20).problem())
    assert "too close to 1" in str(Split(0.9999, 10, 20, 20).problem())
    assert Split(0.0, 2, 1, 1).problem() is None
    assert Split(0.1, 2, 6, 6).problem() is None
    assert Split(0.001, 10, 5, 5).problem() is None
    assert Split(0.5, 2**20, 4096, 1).problem() is None


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_the_smaller_side_of_a_large_space_is_found(share):
    split = Split(share, 10, 6, 6)
    rows = np.resize(np.arange(10), (1, 5, 6))
    moved = split.on_side(rows, 0, 1, held_out=share < 0.5)
    assert (split.is_held_out(moved) == (share < 0.5)).all()
    assert len(np.unique(moved[0], axis=0)) == 5


def test_distinct_rows_keep_their_order():
    rows = np.array([[2, 1], [0, 0], [2, 1], [5, 5], [0, 0], [1, 1]])
    assert distinct(rows, 3).tolist() == [[2, 1], [0, 0], [5, 5]]
    assert len(distinct(rows, 100)) == 4
