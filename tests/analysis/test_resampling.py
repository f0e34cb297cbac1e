"""Intervals and tests of means over samples."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ablab.analysis.methods.resampling import bootstrap_interval, corrected, sign_flip_p


def test_the_interval_is_that_of_scipys_bootstrap():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(400, 3)) * [1, 2, 5]
    low, high = bootstrap_interval(values, np.full(400, 1 / 400), 4000, 0)
    for column in range(3):
        found = stats.bootstrap(
            (values[:, column],), np.mean, n_resamples=4000, method="percentile", rng=rng
        ).confidence_interval
        width = found.high - found.low
        assert abs(low[column] - found.low) < 0.08 * width
        assert abs(high[column] - found.high) < 0.08 * width


def test_a_sample_without_weight_does_not_count():
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(50, 1)), np.ones(50)
    values[0], weights[0] = 1e6, 0.0
    low, high = bootstrap_interval(values, weights, 500, 0)
    assert -1 < low[0] < values[1:].mean() < high[0] < 1


def test_the_interval_covers_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        drawn = np.random.default_rng(seed).normal(size=(60, 1))
        low, high = bootstrap_interval(drawn, np.ones(60), 300, seed)
        covered += low[0] <= 0 <= high[0]
    assert 176 <= covered <= 198  # 95% of 200 is 190, with a standard deviation of 3


@pytest.mark.parametrize("seed", range(5))
def test_the_test_bounds_that_of_all_signs(seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(0.2 * seed, 1, size=(10, 1))
    weights = rng.uniform(0.5, 2, 10)
    signs = np.array(list(itertools.product([-1, 1], repeat=10)))
    sums = signs @ (differences[:, 0] * weights)
    exact = (np.abs(sums) >= abs(differences[:, 0] @ weights) - 1e-12).mean()
    (bound,) = sign_flip_p(differences, weights)
    assert exact <= bound <= 1
    z2 = (differences[:, 0] @ weights) ** 2 / np.sum((differences[:, 0] * weights) ** 2)
    assert bound == pytest.approx(min(1, 2 * np.exp(-z2 / 2)))


def test_no_differences_and_equal_differences():
    differences = np.stack([np.zeros(20), np.ones(20)], axis=-1)
    p = sign_flip_p(differences, np.ones(20))
    assert p[0] == 1
    assert p[1] == pytest.approx(2 * np.exp(-10))  # z² = 20² / 20


def test_p_values_are_corrected_as_by_statsmodels():
    p = [0.001, 0.2, 0.03, 0.04, 0.9]
    expected = multipletests(p, method="fdr_bh")[1]
    with_gap = corrected([*p[:2], None, *p[2:]])
    assert with_gap[2] is None
    assert [each for each in with_gap if each is not None] == pytest.approx(expected.tolist())
    assert corrected([None, None]) == [None, None]
