"""Inference about a mean over seeds: intervals, tests and a bound.

The unit of analysis is the seed. Runs with the same seed share batches and are correlated, so they
are averaged first, and the average counts once. The seeds are treated as a random sample. Then
Student's t-test is exact for normal differences, for any noise of the cells and any correlation
between the cells of a seed (Student, 1908).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from ablab.read.effects.results import Array

ALPHA = 0.05
"""The significance level of every test; intervals are 95% confidence intervals."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Balanced:
    """The average of each seed over the same cells.

    Attributes:
        values: The averages of the remaining seeds, (…, seeds).
        cells: The number of cells in the average.
        pairs: The number of cells times seeds, including missing values.
        missing: The number of missing values.
    """

    values: Array
    cells: int
    pairs: int
    missing: int


@dataclass(frozen=True)
class Estimate:
    """The mean over seeds, with interval and p-value.

    Attributes:
        seeds: The number of values.
        mean: Their mean; None if there are no values.
        deviation: Their standard deviation; None if there are fewer than two.
        interval: The 95% confidence interval of the mean; None with fewer than two seeds, or if
            all values are equal, because the variance between seeds is then unknown.
        narrow: The 90% confidence interval, from which the bound is computed.
        p: The two-sided p-value for a mean of 0, from a t-test. If all values are equal, from a
            sign test, which needs no variance: 2^(1 - n), or 1 if all values are 0.
    """

    seeds: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    narrow: Interval | None
    p: float | None

    @property
    def bound(self) -> float | None:
        """The largest absolute value in the 90% interval.

        This is the smallest margin for which an equivalence test at 5% would have passed. Because
        it is chosen after seeing the data, it is a bound, not a test.
        """
        return None if self.narrow is None else max(abs(end) for end in self.narrow)


def balance(values: Array) -> Balanced:
    """Averages over the cells of each seed, using only cells and seeds without missing values.

    As long as a value is missing, the cell or the seed with the largest fraction of missing values
    is dropped (on a tie, the cell). So every seed is averaged over the same cells.

    Args:
        values: The values, (…, cells, seeds), with NaN for missing ones. A value that is missing
            anywhere along the leading axes is missing for that cell and seed.
    """
    gaps = np.isnan(values).any(axis=tuple(range(values.ndim - 2)))
    pairs, missing = gaps.size, int(gaps.sum())
    while gaps.any():
        by_cell, by_seed = gaps.mean(axis=1), gaps.mean(axis=0)
        if by_cell.max() >= by_seed.max():
            worst, axis = int(by_cell.argmax()), 0
        else:
            worst, axis = int(by_seed.argmax()), 1
        gaps = np.delete(gaps, worst, axis)
        values = np.delete(values, worst, axis - 2)
    if not gaps.size:
        return Balanced(np.empty((*values.shape[:-2], 0)), 0, pairs, missing)
    return Balanced(values.mean(axis=-2), gaps.shape[0], pairs, missing)


def estimate(values: Array, size: float, alpha: float = ALPHA) -> Estimate:
    """The mean over seeds, with its interval.

    Args:
        values: The value of each seed, (seeds,).
        size: The largest absolute value of the numbers from which the values were computed. A
            spread within their rounding error counts as zero.
        alpha: The significance level: the confidence of the interval is 1 - alpha.
    """
    seeds = len(values)
    if seeds == 0:
        return Estimate(0, None, None, None, None, None)
    mean = float(values.mean())
    if seeds == 1:
        return Estimate(1, mean, None, None, None, None)
    if _same(values, size):
        mean = 0.0 if abs(mean) <= rounding(size) else mean
        return Estimate(seeds, mean, 0.0, None, None, 2.0 ** (1 - seeds) if mean else 1.0)
    spread = deviation(values)
    error = spread / seeds**0.5
    half, narrow = (float(stdtrit(seeds - 1, 1 - tail)) * error for tail in (alpha / 2, alpha))
    return Estimate(
        seeds,
        mean,
        spread,
        (mean - half, mean + half),
        (mean - narrow, mean + narrow),
        2 * float(stdtr(seeds - 1, -abs(mean) / error)),
    )


def equivalence(values: Array, margin: float, size: float) -> float | None:
    """The p-value of an equivalence test: two one-sided t-tests (Schuirmann, 1987).

    A small value shows that the absolute mean is below ``margin``. If all values are equal,
    one-sided sign tests replace the t-tests: 2^-n if the mean is within the margin, else 1.

    Returns:
        The p-value, or None with fewer than two values.
    """
    seeds = len(values)
    if seeds < 2:
        return None
    if _same(values, size):
        return 2.0**-seeds if abs(values.mean()) < margin else 1.0
    error = deviation(values) / seeds**0.5
    # The larger of the two p-values is that of the nearer end of the margin.
    return float(stdtr(seeds - 1, (abs(values.mean()) - margin) / error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values for one family; None stays None and does not count.

    The probability of rejecting any true null hypothesis of the family is at most the significance
    level, for any dependence between the tests (Holm, 1979). Equal to ``multipletests`` of
    statsmodels, which takes a tenth of a second per call because it collects garbage.
    """
    tested = np.array([p for p in p_values if p is not None])
    order = np.argsort(tested)
    stepped = np.maximum.accumulate(tested[order] * np.arange(len(tested), 0, -1))
    adjusted = np.empty_like(tested)
    adjusted[order] = np.minimum(stepped, 1.0)
    values = iter(adjusted)
    return [None if p is None else float(next(values)) for p in p_values]


def deviation(values: Array) -> float:
    """The sample standard deviation of values that differ, however large or small they are."""
    apart = values - values.mean()
    top = float(np.abs(apart).max())
    return top * float(np.sqrt(((apart / top) ** 2).sum() / (len(values) - 1)))


def _same(values: Array, size: float) -> bool:
    return float(np.ptp(values)) <= rounding(size)


def rounding(size: float) -> float:
    """The largest error that rounding can cause in differences of numbers of a given size."""
    return 8 * float(np.finfo(np.float64).eps) * size
