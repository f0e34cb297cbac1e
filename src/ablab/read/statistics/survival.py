"""Steps that some runs did not reach, up to a horizon that all cells share.

Up to the last step at which every run was still looked at, it is known of each run whether and when
it reached the level, whatever ended the runs later: a stop rule, patience or the number of steps.
So that horizon needs no assumption about why runs ended. statsmodels gives the Kaplan-Meier curve;
lifelines would give the same with pandas, autograd and formulaic as further dependencies.
"""

from dataclasses import dataclass

import numpy as np
from statsmodels.duration.survfunc import SurvfuncRight

from ablab.read.statistics.array import Array
from ablab.read.statistics.permutation import permutation_test

Interval = tuple[float, float]


@dataclass(frozen=True)
class Steps:
    """Steps to a level, up to a horizon.

    Attributes:
        steps: The step of each run, at most the horizon, (runs,).
        reached: Whether the run reached the level by then, (runs,).
        horizon: The last step at which all runs were looked at.
    """

    steps: Array
    reached: np.ndarray[tuple[int], np.dtype[np.bool_]]
    horizon: float


def common_horizon(not_before: Array) -> float:
    """The last step at which all runs were looked at; infinite if all reached the level.

    Args:
        not_before: For each run of all cells that did not reach the level, the step before which
            it did not; NaN for the others.
    """
    known = not_before[np.isfinite(not_before)]
    return float(known.min()) if known.size else float("inf")


def restricted(values: Array, not_before: Array, horizon: float) -> Steps:
    """The steps of runs up to a horizon; runs with neither kind of value are left out.

    Args:
        values: The step of each run; NaN if it was not reached, (runs,).
        not_before: The step before which it was not reached, or NaN, (runs,).
        horizon: The horizon.
    """
    there = np.isfinite(values) | np.isfinite(not_before)
    steps = np.where(np.isfinite(values), values, np.inf)[there]
    return Steps(np.minimum(steps, horizon), steps <= horizon, horizon)


def median_steps(found: Steps) -> tuple[float | None, Interval | None]:
    """The Kaplan-Meier median and its 95% interval (Brookmeyer and Crowley, 1982).

    An end that the data leave open is infinite. None if fewer than half of the runs reached it;
    the interval needs at least ten runs.
    """
    if not found.reached.any():
        return None, None
    curve = SurvfuncRight(found.steps, found.reached.astype(int))
    median = float(curve.quantile(0.5))
    if len(found.steps) < 10:
        return (median if np.isfinite(median) else None), None
    with np.errstate(divide="ignore", invalid="ignore"):  # the curve may end at 0
        low, high = curve.quantile_ci(0.5)
    low = 0.0 if np.isnan(low) else float(low)
    high = float("inf") if np.isnan(high) else float(high)
    return (median if np.isfinite(median) else None), (low, high)


def log_rank_test(first: Steps, second: Steps) -> float:
    """The p-value of the log-rank test by exact permutation of the runs' log-rank scores.

    The score of a run is one (if it reached the level) minus the Nelson-Aalen hazard at its step
    (Peto and Peto, 1972). The permutation is exact for few runs, where the chi-squared
    approximation is not.
    """
    steps = np.concatenate([first.steps, second.steps])
    reached = np.concatenate([first.reached, second.reached])
    if not reached.any():
        return 1.0
    times = np.unique(steps[reached])
    at_risk = (steps[None, :] >= times[:, None]).sum(axis=1)
    events = ((steps[None, :] == times[:, None]) & reached).sum(axis=1)
    hazard = np.array([(events / at_risk)[times <= step].sum() for step in steps])
    scores = reached - hazard
    n = len(first.steps)
    return permutation_test(scores[:n], scores[n:])
