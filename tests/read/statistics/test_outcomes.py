"""Values against outcomes that were not assigned: the seed is what is exchanged."""

import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.outcomes import exchanged_seeds, least_p

SEPARATED = np.array([[1.0, 2.0, 3.0, 9.0, 10.0]])
FIRST_THREE = np.array([[True, True, True, False, False]])


def test_five_seeds_by_hand():
    # Of the ten ways to choose three of five seeds, the observed one has the least ranks.
    assert exchanged_seeds(SEPARATED, FIRST_THREE) == pytest.approx((0.2, 1.0))
    assert exchanged_seeds(-SEPARATED, FIRST_THREE) == pytest.approx((1.0, 0.2))
    assert least_p(FIRST_THREE) == pytest.approx(0.2)
    # 1, 2, 9 have the second least sum of ranks, 1 + 2 + 4, as have no others.
    mixed = np.array([[1.0, 2.0, 9.0, 3.0, 10.0]])
    assert exchanged_seeds(mixed, FIRST_THREE)[0] == pytest.approx(0.4)


def test_a_single_cell_is_the_test_of_mann_and_whitney():
    rng = np.random.default_rng(3)
    for _ in range(5):
        values, outcomes = rng.normal(size=7), np.arange(7) < 4
        expected = stats.mannwhitneyu(values[:4], values[4:], method="exact").pvalue
        found = exchanged_seeds(values[None], outcomes[None])
        assert min(found) == pytest.approx(expected)


def test_a_second_cell_that_says_the_same_adds_no_evidence():
    twice = np.concatenate([SEPARATED, SEPARATED]), np.concatenate([FIRST_THREE, FIRST_THREE])
    assert exchanged_seeds(*twice) == pytest.approx((0.2, 1.0))
    assert least_p(twice[1]) == pytest.approx(0.2)
    # One that says something else about each seed does: 5! / 2! arrangements.
    other = np.array([FIRST_THREE[0], [True, False, False, True, False]])
    assert least_p(other) == pytest.approx(2 / 60)


def test_ten_seeds_are_drawn_at_random():
    values, outcomes = np.arange(10.0)[None], (np.arange(10) < 5)[None]
    low, high = exchanged_seeds(values, outcomes)
    assert low == pytest.approx(2 / 252, abs=0.002) and high == 1
    assert exchanged_seeds(values[:, :0], outcomes[:, :0]) == (1.0, 1.0)


def test_under_the_null_it_is_seldom_significant_even_if_runs_of_a_seed_are_alike():
    rng = np.random.default_rng(0)
    runs, found = 300, 0
    for _ in range(runs):
        own, other = rng.normal(size=(2, 1, 6))
        values = own + 0.1 * rng.normal(size=(4, 6))
        outcomes = other + 0.1 * rng.normal(size=(4, 6)) > 0
        found += min(exchanged_seeds(values, outcomes)) < 0.05
    assert found <= stats.binom.ppf(0.999, runs, 0.05)
