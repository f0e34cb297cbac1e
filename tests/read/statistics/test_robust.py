import itertools

import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.permutation import least_p, least_paired_p, permutation_test
from ablab.read.statistics.robust import (
    interquartile_difference,
    interquartile_mean,
    probability_of_improvement,
)


def test_the_least_p_of_three_seeds_is_a_tenth():
    assert least_p(3, 3) == pytest.approx(0.1)
    assert least_p(0, 3) == 1.0


def test_the_least_paired_p_is_that_of_all_signs_equal():
    signs = list(itertools.product([-1, 1], repeat=3))
    extreme = sum(abs(sum(each)) == 3 for each in signs)
    assert least_paired_p(3) == extreme / len(signs) == 0.25
    assert least_paired_p(1) == 1.0
    apart = permutation_test(np.array([1.0, 2, 3]), np.array([7.0, 8, 9]))
    assert apart == pytest.approx(0.1)
    assert permutation_test(np.array([]), np.array([1.0])) == 1.0


def test_interquartile_means():
    values = np.array([0.0, 1, 2, 3, 4, 5, 6, 100])
    assert interquartile_mean(values) == 3.5
    assert interquartile_difference(values, values) == (0.0, None)  # eight are too few
    random = np.random.default_rng(0)
    a, b = random.normal(size=12) + 2, random.normal(size=12)
    value, (low, high) = interquartile_difference(a, b)
    assert low < value < high
    assert low > 0


def test_the_probability_of_improvement_counts_pairs():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0])
    assert probability_of_improvement(a, b) == (pytest.approx(4.5 / 6), None)
    random = np.random.default_rng(0)
    a, b = random.normal(size=20) + 1, random.normal(size=20)
    value, (low, high) = probability_of_improvement(a, b)
    assert value == pytest.approx(stats.mannwhitneyu(a, b).statistic / 400)
    assert 0 < low < value < high < 1
