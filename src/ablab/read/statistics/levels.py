"""The difference of two means over seeds, with its interval.

All functions take stacks of samples, with the runs on the last axis and NaN for a run without a
value, so that a simulation can call them on thousands of experiments at once.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit

from ablab.read.statistics.array import Array, unit_of

PAIRING_ALPHA = 0.05
"""Runs are paired by seed if the seeds differ at this level, over all cells."""

_ENOUGH = 5
"""From this many runs on either side, Welch's degrees of freedom are always used."""
_UNBALANCED = 1.5
"""With fewer, they are used if the larger side has less than this many times as many runs."""


@dataclass(frozen=True)
class Difference:
    """The difference of two means; NaN where there are too few runs.

    Attributes:
        value: The mean of the first minus that of the second, (…).
        error: Its standard error, (…); NaN with fewer than two runs on either side.
        degrees: The degrees of freedom, (…).
        least: Those of the smaller sample, which are the fewest that are possible, (…).
    """

    value: Array
    error: Array
    degrees: Array
    least: Array

    def in_family(self) -> "Difference":
        """The same with fewer degrees of freedom, for tests of several comparisons.

        A correction for several comparisons needs p-values far below 5%, and there Welch's are too
        small if the variances differ: of 5 vs 5 runs whose standard deviations are 0.3 and 1,
        p < 0.005 occurs in 0.7% of experiments. The harmonic mean of Welch's degrees of freedom,
        counted twice, and the fewest possible makes it 0.5% (decision 26).
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            degrees = 3 / (2 / self.degrees + 1 / self.least)
        return Difference(self.value, self.error, degrees, self.least)

    def half_width(self, alpha: float = 0.05) -> Array:
        """Half of the width of the interval with confidence 1 - alpha, (…)."""
        return np.asarray(stdtrit(self.degrees, 1 - alpha / 2) * self.error)

    def p_value(self) -> Array:
        """The two-sided p-value of no difference, (…)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2 * stdtr(self.degrees, -np.abs(self.value) / self.error))

    def p_equivalence(self, margin: float) -> Array:
        """The p-value of two one-sided tests that the difference is below a margin, (…)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(stdtr(self.degrees, (np.abs(self.value) - margin) / self.error))


def welch(first: Array, second: Array) -> Difference:
    """Compares independent samples with unequal variances (Welch, 1947).

    If runs of a seed are positively correlated, it is conservative.

    Args:
        first: The first sample, (…, runs).
        second: The second sample, (…, runs).
    """
    (n, mean, deviation), (m, other, other_deviation) = _moments(first), _moments(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        v, w = deviation / np.sqrt(n), other_deviation / np.sqrt(m)
        degrees = welch_degrees(v, w, n, m)
    error = np.where((n > 1) & (m > 1), np.hypot(v, w), np.nan)
    return Difference(mean - other, error, degrees, np.minimum(n, m) - 1.0)


def welch_degrees(error: Array, other_error: Array, runs: Array, other_runs: Array) -> Array:
    """Welch's degrees of freedom; NaN where both standard errors are 0.

    They depend on the part of each in the variance of the difference only, and so are computed from
    these: squares of very large or very small errors are no numbers.

    Args:
        error: The standard error of one mean, (…).
        other_error: That of the other mean, (…).
        runs: The number of runs of one side, (…).
        other_runs: The number of runs of the other side, (…).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        together = np.hypot(error, other_error)
        part, other = (error / together) ** 2, (other_error / together) ** 2
        return np.asarray(1 / (part**2 / (runs - 1) + other**2 / (other_runs - 1)))


def unpaired(first: Array, second: Array) -> Difference:
    """Compares independent samples, of which one can be much smaller than the other.

    Welch's degrees of freedom are too many if a variance that is estimated from two or three runs
    happens to be small beside one of many runs: of 14 vs 2 runs with normal noise, the interval
    covers 88.2%. Where one side has fewer than five runs and the other at least 1.5 times as many,
    the harmonic mean of Welch's degrees of freedom and those of the smaller side (which are always
    too few) is used. It covers 93.3% or more of 2 to 4 vs 3 to 38 runs
    (decision 26).

    Args:
        first: The first sample, (…, runs).
        second: The second sample, (…, runs).
    """
    found = welch(first, second)
    sizes = [np.isfinite(each).sum(axis=-1) for each in (first, second)]
    degrees = few_degrees(found.degrees, *sizes)
    return Difference(found.value, found.error, degrees, found.least)


def few_degrees(degrees: Array, runs: Array, other_runs: Array) -> Array:
    """Welch's degrees of freedom, or fewer where one side is much smaller; see :func:`unpaired`.

    Args:
        degrees: Welch's degrees of freedom, (…).
        runs: The number of runs of one side, (…).
        other_runs: The number of runs of the other side, (…).
    """
    sizes = np.sort([runs, other_runs], axis=0)
    few = (sizes[0] > 1) & (sizes[0] < _ENOUGH) & (sizes[1] >= _UNBALANCED * sizes[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        fewer = 2 / (1 / degrees + 1 / (sizes[0] - 1.0))
    return np.where(few, fewer, degrees)


def paired(first: Array, second: Array) -> Difference:
    """Compares runs paired by their place on the last axis (Student, 1908)."""
    n, mean, deviation = _moments(first - second)
    error = np.where(n > 1, deviation / np.sqrt(np.maximum(n, 1)), np.nan)
    return Difference(mean, error, n - 1.0, n - 1.0)


def seeds_matter(values: Array) -> Array:
    """The p-value of no differences between seeds, over all cells, (…).

    The F-test of the seeds' rows in a two-way layout. Where it rejects, pairing by seed removes
    noise; otherwise pairing halves the degrees of freedom for nothing. Choosing so at 5% keeps
    coverage at 94% or more (decision 26).

    Args:
        values: The values, (…, cells, seeds), without NaN.
    """
    cells, seeds = values.shape[-2:]
    if cells < 2 or seeds < 2:
        return np.ones(values.shape[:-2])
    centred = values - values.mean(axis=-1, keepdims=True)
    centred = centred / unit_of(centred, (-1, -2))  # the ratio stays the same
    rows = centred.mean(axis=-2, keepdims=True)
    between = cells * (rows**2).sum(axis=(-1, -2)) / (seeds - 1)
    degrees = (cells - 1) * (seeds - 1)
    within = ((centred - rows) ** 2).sum(axis=(-1, -2)) / degrees
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(within > 0, between / within, np.where(between > 0, np.inf, 0.0))
    return np.asarray(fdtrc(seeds - 1, degrees, ratio))


def pair_by_seed(values: Array) -> bool:
    """Whether to pair runs by seed: the one rule for effects and verdicts.

    Args:
        values: The values of all cells of a grid, (cells, seeds), with NaN for missing ones. Cells
            that lack a value are left out.
    """
    whole = values[np.isfinite(values).all(axis=-1)]
    return bool(len(whole) > 1 and seeds_matter(whole) < PAIRING_ALPHA)


def spread(values: Array) -> Array:
    """The pooled standard deviation within cells, (…).

    Args:
        values: The values, (…, cells, seeds), with NaN for missing ones.
    """
    n, _, deviation = _moments(values)
    deviation = np.where(n > 1, deviation, 0.0)
    top = unit_of(deviation, (-1,))
    with np.errstate(divide="ignore", invalid="ignore"):
        total = ((deviation / top) ** 2 * (n - 1)).sum(axis=-1)
        return np.asarray(top[..., 0] * np.sqrt(total / np.maximum(n - 1, 0).sum(axis=-1)))


def _moments(values: Array) -> tuple[Array, Array, Array]:
    """The number of values, their mean and their standard deviation over the last axis."""
    there = np.isfinite(values)
    n = there.sum(axis=-1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=-1) / n
        deviations = np.where(there, values - mean[..., None], 0.0)
        top = unit_of(deviations, (-1,))
        square = np.where(n > 1, ((deviations / top) ** 2).sum(axis=-1) / (n - 1), np.nan)
    return n, mean, top[..., 0] * np.sqrt(square)
