import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.survival import (
    common_horizon,
    log_rank_test,
    median_steps,
    restricted,
)

NAN = np.nan


def steps(values, bounds, horizon=1000.0):
    return restricted(np.array(values, float), np.array(bounds, float), horizon)


def test_up_to_the_horizon_all_is_known():
    bounds = np.array([NAN, 1000, 800])
    assert common_horizon(bounds) == 800
    assert common_horizon(np.array([NAN])) == np.inf
    found = steps([900, NAN, NAN], bounds, 800)
    assert found.steps.tolist() == [800, 800, 800]
    assert not found.reached.any()


def test_the_median_is_kaplan_meiers():
    assert median_steps(steps([100, 200, NAN], [NAN, NAN, 1000])) == (200, None)
    assert median_steps(steps([100, NAN, NAN], [NAN, 1000, 1000])) == (None, None)
    many = steps([*range(100, 1100, 100), 50, 60], [NAN] * 12, 5000)
    median, (low, high) = median_steps(many)
    assert low < median < high


def test_log_rank_is_exact_for_few_runs():
    first = steps([100, 200, 300], [NAN] * 3)
    second = steps([NAN] * 3, [1000] * 3)
    assert log_rank_test(first, second) == pytest.approx(0.1)
    assert log_rank_test(second, second) == 1.0
    random = np.random.default_rng(0)
    a, b = random.exponential(300, 20), random.exponential(600, 20)
    late = stats.logrank(stats.CensoredData(a), stats.CensoredData(b)).pvalue
    found = log_rank_test(steps(a, [NAN] * 20, 1e9), steps(b, [NAN] * 20, 1e9))
    assert found == pytest.approx(late, abs=0.03)
