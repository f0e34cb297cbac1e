"""Averages of few seeds: against SciPy on the scale, and within their range."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from ablab.read.statistics.scales import average, choose, median_interval

UNIT = (0.0, 1.0)
POSITIVE = (0.0, np.inf)


def t_interval(values):
    found = stats.ttest_1samp(values, 0).confidence_interval()
    return np.array([found.low, found.high])


def test_a_lag_of_six_seeds_is_above_200():
    # The lags of grokking's six float64 runs: Student's interval is [189, 928].
    lags = np.array([835.0, 472.0, 356.0, 274.0, 1137.0, 276.0])
    assert t_interval(lags).round() == pytest.approx([189, 928])
    found = average(lags, POSITIVE)
    assert found.value == (356 + 472) / 2
    assert found.interval == pytest.approx(tuple(np.exp(t_interval(np.log(lags)))))
    assert found.interval[0] > 200
    assert found.statistic == "median"


def test_an_accuracy_has_an_interval_on_the_logit_scale():
    values = np.array([0.97, 0.995, 0.999])
    assert t_interval(values)[1] > 1
    found = average(values, UNIT)
    assert found.interval == pytest.approx(tuple(expit(t_interval(logit(values)))))
    assert found.value == 0.995


def test_an_accuracy_of_one_leaves_open_that_the_median_is_one():
    found = average(np.array([1.0, 1.0, 0.998]), UNIT)
    # Ones stand for half of the least distance, 0.001.
    low = expit(t_interval(logit(np.array([0.999, 0.999, 0.998]))))[0]
    assert found.interval == pytest.approx((low, 1.0))
    assert average(np.array([0.0, 0.02, 0.01]), UNIT).interval[0] == 0.0
    assert average(np.array([1.0, 1.0, 1.0]), UNIT).interval is None


def test_a_loss_near_zero_has_no_negative_end():
    values = np.array([0.003, 0.02, 0.0004])
    assert t_interval(values)[0] < 0
    low, high = average(values, POSITIVE).interval
    assert 0 < low < 0.003 < high
    # A loss of exactly zero has no logarithm; the mean is not negative.
    found = average(np.array([0.0, 0.02, 0.0004]), POSITIVE)
    assert (found.interval[0], found.statistic) == (0.0, "mean")


def test_counts_have_a_mean_that_is_not_negative():
    counts = np.array([0.0, 3.0, 5.0])
    found = average(counts, POSITIVE, counted=True)
    assert (found.value, found.statistic) == (pytest.approx(8 / 3), "mean")
    assert found.interval == pytest.approx((0.0, t_interval(counts)[1]))


def test_without_a_declared_range_only_skewed_values_have_another_scale():
    even, skewed = np.array([9.0, 10.0, 11.0]), np.array([1.0, 10.0, 100.0])
    assert average(even, None).interval == pytest.approx(tuple(t_interval(even)))
    assert choose(skewed, None).name == "logarithm"
    assert choose(np.array([-1.0, 10.0, 100.0]), None).name == "linear"


def test_a_range_that_does_not_hold_is_ignored():
    values = np.array([-3.0, -2.0, -1.5])  # a loss of a user's own
    assert average(values, POSITIVE).interval == pytest.approx(tuple(t_interval(values)))


def test_the_interval_of_a_median_by_ranks():
    values = np.array([5.0, 3.0, 8.0, 1.0, 9.0, 2.0, 7.0, 6.0, 4.0, 10.0])
    # P(at most 1 of 10 below the median) = 11/1024 <= 0.025 < 56/1024 = P(at most 2).
    assert median_interval(values) == (2.0, 9.0)
    assert median_interval(values[:6]) == (1.0, 9.0)  # 1/64 on each side
    assert median_interval(values[:5]) is None  # 1/32
