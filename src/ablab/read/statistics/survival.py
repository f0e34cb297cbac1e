"""Steps that some runs did not reach, up to a horizon that all cells share.

Up to the last step at which every run was still looked at, it is known of each run whether and when
it reached the level, whatever ended the runs later: a stop rule, patience or the number of steps.
So that horizon needs no assumption about why runs ended.
"""

from dataclasses import dataclass

import numpy as np

from ablab.read.statistics.array import Array
from ablab.read.statistics.permutation import permutation_test


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


def median_steps(found: Steps) -> float | None:
    """The first step by which half of the runs had reached the level; None if fewer did.

    That is the Kaplan-Meier median, since all runs were looked at up to the horizon.
    """
    steps, half = np.sort(found.steps[found.reached]), -(-len(found.steps) // 2)
    return float(steps[half - 1]) if len(steps) >= half > 0 else None


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
