"""Interquartile means and the probability of improvement, from ten seeds (Agarwal et al., 2021)."""

import numpy as np
from scipy import stats

from ablab.read.statistics.array import Array

Interval = tuple[float, float]
LEAST_RUNS = 10
"""With fewer runs in a cell, bootstrap intervals cover too little, so none is given."""


def interquartile_mean(values: Array) -> float:
    """The mean of the middle half of the values, (runs,)."""
    return float(stats.trim_mean(values, 0.25))


def interquartile_difference(first: Array, second: Array) -> tuple[float, Interval | None]:
    """The difference of two interquartile means, and its 95% interval from ten runs.

    Yuen's interval (1974) for trimmed means, which covers better than the bootstrap at ten runs.
    """
    value = interquartile_mean(first) - interquartile_mean(second)
    if min(len(first), len(second)) < LEAST_RUNS:
        return value, None
    found = stats.ttest_ind(first, second, equal_var=False, trim=0.25)
    if not np.isfinite(found.statistic) or found.statistic == 0:
        return value, None
    ends = found.confidence_interval(0.95)
    return value, (float(ends.low), float(ends.high))


def probability_of_improvement(first: Array, second: Array) -> tuple[float, Interval | None]:
    """The probability that a run of the first sample is above one of the second; ties are halves.

    The interval is that of the Brunner-Munzel test (2000) on the logit scale, from ten runs a side.
    """
    above = (first[:, None] > second).mean() + (first[:, None] == second).mean() / 2
    n, m = len(first), len(second)
    if min(n, m) < LEAST_RUNS or not 0 < above < 1:
        return float(above), None
    joint = stats.rankdata(np.concatenate([first, second]))
    # The placements: the share of the other sample below each run.
    placed = (joint[:n] - stats.rankdata(first)) / m, (joint[n:] - stats.rankdata(second)) / n
    v, w = placed[0].var(ddof=1) / n, placed[1].var(ddof=1) / m
    if v + w == 0:
        return float(above), None
    degrees = (v + w) ** 2 / (v**2 / (n - 1) + w**2 / (m - 1))
    half = stats.t.ppf(0.975, degrees) * np.sqrt(v + w) / (above * (1 - above))
    centre = np.log(above / (1 - above))
    low, high = (1 / (1 + np.exp(-(centre + sign * half))) for sign in (-1, 1))
    return float(above), (float(low), float(high))
