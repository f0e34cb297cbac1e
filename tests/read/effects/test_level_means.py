"""Means of levels where runs are missing: many blocks are eliminated, with the same result."""

import numpy as np
import pytest

from ablab.read.effects import level_means as module
from ablab.read.effects.level_means import level_means


def by_elimination(values, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(module, "_DENSE", 0)
        return level_means(values)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7, 0.9])
def test_elimination_gives_what_least_squares_gives(missing, monkeypatch):
    random = np.random.default_rng(int(10 * missing))
    for levels, cells, seeds in ((2, 3, 2), (5, 20, 4), (8, 3, 1)):
        values = random.normal(3.0, 1.0, (levels, cells, seeds))
        values[random.random(values.shape) < missing] = np.nan
        values[0, 0, 0] = 1.0
        expected = level_means(values)
        found = by_elimination(values, monkeypatch)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_parts_without_a_common_block_and_levels_without_runs(monkeypatch):
    values = np.full((5, 4, 1), np.nan)
    values[:2, :2, 0] = [[1.0, 2.0], [2.0, 5.0]]
    values[2:4, 2:, 0] = [[10.0, 20.0], [30.0, np.nan]]  # the fifth level has no run
    found = by_elimination(values, monkeypatch)
    np.testing.assert_allclose(found, level_means(values), rtol=1e-12)
    assert found[1] - found[0] == pytest.approx(2.0), "the mean of 1 and 3"
    assert found[3] - found[2] == pytest.approx(20.0)


def test_complete_values_have_plain_means(monkeypatch):
    values = np.random.default_rng(0).normal(size=(4, 6, 3))
    plain = values.mean(axis=(1, 2))
    np.testing.assert_allclose(level_means(values), plain, rtol=1e-12)
    np.testing.assert_allclose(by_elimination(values, monkeypatch), plain, rtol=1e-12)
