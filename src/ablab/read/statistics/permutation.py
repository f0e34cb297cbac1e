"""Exact permutation tests, and the least p-value that few seeds can give."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from ablab.read.statistics.array import Array

_EXACT = 20_000
"""With more arrangements, a random sample of this many is taken."""


def least_p(runs: int, other_runs: int) -> float:
    """The least two-sided p-value of a permutation test of two cells: 0.10 for 3 vs 3."""
    if runs < 1 or other_runs < 1:
        return 1.0
    sides = 2 if runs == other_runs else 1
    return min(1.0, sides / math.comb(runs + other_runs, runs))


def least_paired_p(pairs: int) -> float:
    """The least two-sided p-value if the signs of paired differences are permuted: 0.25 for 3."""
    return min(1.0, 2.0 ** (1 - pairs))


def permutation_test(
    first: Array, second: Array, statistic: Callable[[Array, Array, int], Array] | None = None
) -> float:
    """The two-sided p-value of the difference of two independent samples, by permutation.

    Exact up to 20,000 arrangements, else from 20,000 random ones with a fixed seed.

    Args:
        first: The first sample, (runs,).
        second: The second sample, (runs,).
        statistic: A statistic of two samples and their axis; by default the difference of means.
    """
    if not len(first) or not len(second):
        return 1.0

    def means(x: Array, y: Array, axis: int) -> Array:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    found = stats.permutation_test(
        (first, second),
        statistic or means,
        vectorized=True,
        n_resamples=_EXACT,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
