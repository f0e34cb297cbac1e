import numpy as np
import pytest
from scipy import stats

from ablab.read.statistics.survival import (
    Steps,
    common_horizon,
    log_rank_test,
    median_steps,
)

NAN = np.nan


def steps(values, bounds, horizon=1000.0):
    """Runs that reached a level at these steps; NaN if they did not by the horizon."""
    assert len(values) == len(bounds)
    values = np.array(values, float)
    return Steps(np.where(np.isnan(values), horizon, values), ~np.isnan(values), horizon)


def test_the_horizon_is_the_last_step_at_which_all_runs_were_looked_at():
    assert common_horizon(np.array([NAN, 1000, 800])) == 800
    assert common_horizon(np.array([NAN])) == np.inf


def test_the_median_is_kaplan_meiers():
    assert median_steps(steps([100, 200, NAN], [NAN, NAN, 1000])) == 200
    assert median_steps(steps([100, NAN, NAN], [NAN, 1000, 1000])) is None
    assert median_steps(steps([NAN, NAN], [1000, 1000])) is None
    assert median_steps(steps([300, 50, 100], [NAN] * 3)) == 100


def test_log_rank_is_exact_for_few_runs():
    first = steps([100, 200, 300], [NAN] * 3)
    second = steps([NAN] * 3, [1000] * 3)
    assert log_rank_test(first, second) == pytest.approx(0.1)
    assert log_rank_test(second, second) == 1.0
    assert log_rank_test(steps([100], [NAN]), second) == pytest.approx(2 / 4)
    random = np.random.default_rng(0)
    a, b = random.exponential(300, 20), random.exponential(600, 20)
    late = stats.logrank(stats.CensoredData(a), stats.CensoredData(b)).pvalue
    found = log_rank_test(steps(a, [NAN] * 20, 1e9), steps(b, [NAN] * 20, 1e9))
    assert found == pytest.approx(late, abs=0.03)
