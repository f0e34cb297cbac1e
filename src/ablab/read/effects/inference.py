"""What the differences of some seeds say about their mean: interval, tests, a bound.

A seed is the unit. Runs that share a seed share batches and luck, so they are averaged first, and
their average counts once; the seeds are taken as a sample of all seeds. Then Student's t is exact
for normal differences, whatever the noise of each cell and however the cells of a seed depend on
each other (Student, 1908).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from ablab.read.effects.results import Array

ALPHA = 0.05
"""The level of every test; intervals are of 95%."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Balanced:
    """Each seed's average over the same cells.

    Attributes:
        values: (…, seeds), of the seeds that are left.
        cells: How many cells are averaged.
        pairs: How many cells times seeds there would be were none missing.
        missing: How many of them have no value.
    """

    values: Array
    cells: int
    pairs: int
    missing: int


@dataclass(frozen=True)
class Estimate:
    """The mean of the seeds' values and what is known about it.

    Attributes:
        seeds: How many values there are.
        mean: Their mean; None of none.
        deviation: Their standard deviation; None of fewer than two.
        interval: The mean's 95% interval; None of fewer than two seeds, and where all of several
            values are the same, as nothing then says how far the next seed would be.
        narrow: The 90% interval, which the bound is read from.
        p: The p value of a mean of 0, two-sided, by a t test. Where all values are the same, by the
            sign test, which needs no spread: 2^(1 - n), and 1 where they are all 0.
    """

    seeds: int
    mean: float | None
    deviation: float | None
    interval: Interval | None
    narrow: Interval | None
    p: float | None

    @property
    def bound(self) -> float | None:
        """The largest size that the 90% interval admits.

        The smallest margin for which an equivalence test at 5% would have passed. Read off after
        the fact it is a bound and no test.
        """
        return None if self.narrow is None else max(abs(end) for end in self.narrow)


def balance(values: Array) -> Balanced:
    """Averages over cells within each seed, of cells and seeds without a gap.

    While a value is missing, the cell or the seed with the largest share of missing ones is left
    out (of equals the cell), so that every seed's average is over the same cells.

    Args:
        values: (…, cells, seeds), NaN where there is none. Where there are axes in front, a gap
            anywhere along them is one of the cell and seed.
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


def estimate(values: Array, size: float) -> Estimate:
    """The mean of the seeds' values, with its interval.

    Args:
        values: One for each seed.
        size: How large the numbers are that the values are differences of; a spread that rounding
            of such numbers explains is none.
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
    deviation = float(values.std(ddof=1))
    error = deviation / seeds**0.5
    half, narrow = (float(stdtrit(seeds - 1, 1 - tail)) * error for tail in (ALPHA / 2, ALPHA))
    return Estimate(
        seeds,
        mean,
        deviation,
        (mean - half, mean + half),
        (mean - narrow, mean + narrow),
        2 * float(stdtr(seeds - 1, -abs(mean) / error)),
    )


def equivalence(values: Array, margin: float, size: float) -> float | None:
    """The p value of a mean of at least ``margin`` in size: two one-sided t tests.

    Small, it says that the mean is nearer to 0 than the margin. Schuirmann (1987). Where all values
    are the same, one-sided sign tests take the t tests' place: 2^-n inside the margin, else 1.

    Returns:
        None of fewer than two values.
    """
    seeds = len(values)
    if seeds < 2:
        return None
    if _same(values, size):
        return 2.0**-seeds if abs(values.mean()) < margin else 1.0
    error = values.std(ddof=1) / seeds**0.5
    # The worse of the two tests is that of the nearer end.
    return float(stdtr(seeds - 1, (abs(values.mean()) - margin) / error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values of one family; None stays None and is no part of it.

    Holm (1979): that a true null is rejected anywhere in the family has at most the level's
    probability, however the tests depend on each other. As ``multipletests`` of statsmodels, which
    collects garbage at each call: a tenth of a second.
    """
    tested = np.array([p for p in p_values if p is not None])
    order = np.argsort(tested)
    stepped = np.maximum.accumulate(tested[order] * np.arange(len(tested), 0, -1))
    adjusted = np.empty_like(tested)
    adjusted[order] = np.minimum(stepped, 1.0)
    values = iter(adjusted)
    return [None if p is None else float(next(values)) for p in p_values]


def _same(values: Array, size: float) -> bool:
    return float(np.ptp(values)) <= rounding(size)


def rounding(size: float) -> float:
    """How far differences of numbers of a size may be off by rounding alone."""
    return 8 * float(np.finfo(np.float64).eps) * size
