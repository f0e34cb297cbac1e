import itertools

import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.counts import (
    learning_probability,
    probability_difference,
    probability_test,
    unseen,
)


def test_three_of_three_leave_a_learning_probability_of_0_29_open():
    low, high = learning_probability(3, 3)
    assert (low, high) == (pytest.approx(0.2924, abs=1e-4), 1.0)
    assert unseen(3) == pytest.approx(1 - low)


@pytest.mark.parametrize("table", [(3, 3, 0, 3), (4, 5, 1, 5), (5, 6, 2, 7)])
def test_the_test_is_barnards(table):
    x, n, y, m = table
    barnard = stats.barnard_exact([[x, n - x], [y, m - y]])
    assert probability_test(*table) == pytest.approx(barnard.pvalue, rel=0.02)


def test_the_least_p_and_equal_counts():
    assert probability_test(3, 3, 0, 3) == pytest.approx(1 / 32)
    assert probability_test(2, 3, 4, 6) == 1.0


@pytest.mark.parametrize("chances", [(0.9, 0.5), (0.8, 0.8), (1.0, 0.7)])
def test_the_interval_covers(chances):
    n = 4
    covered = 0.0
    for x, y in itertools.product(range(n + 1), repeat=2):
        low, high = probability_difference(x, n, y, n)
        weight = np.prod(stats.binom.pmf([x, y], n, chances))
        covered += weight * (low <= chances[0] - chances[1] <= high)
    assert covered >= 0.949


def test_many_runs_use_newcombe():
    low, high = probability_difference(50, 60, 30, 60)
    assert 0.1 < low < 1 / 3 < high < 0.5
