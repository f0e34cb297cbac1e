"""Rank tests within the cells of other settings, of values of which some are only bounded.

The runs of the compared values of a setting are ranked within each cell of the other settings, so
that differences between those cells do not matter, and the ranks of a cell are weighted by one
over its number of runs plus one (van Elteren, 1960). What is permuted is the seed with its scores
over all cells, because runs of a seed share their batches; that is exact for any distribution and
any correlation within a seed. With a single cell it is Wilcoxon's test, with ties.

Five pairs of a seed cannot give p < 0.05 so. In a single cell, four or five runs a side can if they
are not taken in pairs, which is conservative for runs of a seed that are alike: that is done there.
Where so few seeds have several cells, two tests must both show the order: that of van Elteren's
statistic by permutation within cells, and a t-test of the seeds' scores, which are sums over cells.
The first alone would call up to 40% of null effects an effect if runs of a seed and a setting are
alike over cells, the second up to 15% if there is only one cell (decision 26).

A run that did not reach a step has no number. Up to a *horizon*, the last step that every run with
a fixed end was trained to, it is known of each run which came first: one that did not get there by
the horizon comes after all that did. A run that something else ended before the horizon (a stop
rule, which can depend on the outcome; an error) is only bounded: it counts as whatever is worst for
what is to be shown. A run that diverged will never get there.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from ablab.read.statistics.array import Array, Flags
from ablab.read.statistics.permutation import (
    least_p,
    least_paired_p,
    order_test,
)

ALPHA = 0.05
_DRAWN = 20_000
_TIE = 1e-9  # scores are sums of a few fractions, so rounding is far below this


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest possible value of each run, each (cells, seeds); NaN for none."""

    least: Array
    most: Array

    @classmethod
    def exactly(cls, values: Array) -> "Bounds":
        """Values that are known, (cells, seeds)."""
        return cls(values, values)

    def later(self, by: float) -> "Bounds":
        """The same, with a number added to each value."""
        return Bounds(self.least + by, self.most + by)


@dataclass(frozen=True)
class Arrivals:
    """The steps at which runs got somewhere, or until when they did not; arrays of one shape.

    Attributes:
        values: The step; NaN for a run that did not get there.
        not_before: The step before which a run did not get there; NaN for the others.
        never: Whether a run diverged, so that it will never get there.
        open: Whether a stop rule or an error ended a run, so that it is only bounded.
    """

    values: Array
    not_before: Array
    never: Flags
    open: Flags

    def at(self, place: int | list[int]) -> "Arrivals":
        """Some of the runs, by their places on the first axis."""
        return Arrivals(
            self.values[place], self.not_before[place], self.never[place], self.open[place]
        )

    @property
    def complete(self) -> bool:
        """Whether no run is known not to have got there."""
        return not np.isfinite(self.not_before).any()

    @property
    def horizon(self) -> float:
        """The last step to which every run is known, except those that ended before their time."""
        planned = self.not_before[np.isfinite(self.not_before) & ~self.never & ~self.open]
        if planned.size:
            return float(planned.min())
        known = np.concatenate([self.values.ravel(), self.not_before.ravel()])
        return float(np.nanmax(known))

    def bounds(self, end: float, later: float = 0.0) -> Bounds:
        """The bounds of each run's step up to a horizon.

        Args:
            end: The horizon.
            later: Steps to add to each run's step.
        """
        least = np.where(np.isfinite(self.values), self.values, self.not_before)
        least = np.where(np.isnan(self.values) & self.never, end, least)
        missed = np.isnan(self.values) & np.isfinite(self.not_before)
        most = np.where(missed, np.inf, self.values)
        return Bounds(np.minimum(least + later, end), np.minimum(most + later, end))


def scores(samples: Sequence[Array]) -> list[Array]:
    """The score of each run: its rank within its cell, less its expectation, over the cell's size.

    In a cell with N runs, the score of a run of rank r is (r - (N + 1) / 2) / (N + 1), so the sum
    over a sample is van Elteren's statistic (1960), less its expectation. A run without a value
    has no score, and a cell with runs of one sample only none at all.

    Args:
        samples: The values of each sample, each (cells, seeds), with NaN for missing ones.

    Returns:
        The scores of each sample, each (cells, seeds), with NaN for missing ones.
    """
    comparable = np.sum([np.isfinite(each).any(axis=-1) for each in samples], axis=0) > 1
    values = np.concatenate(samples, axis=-1)
    known = np.isfinite(values) & comparable[:, None]
    ranks = stats.rankdata(np.where(known, values, np.nan), axis=-1, nan_policy="omit")
    runs = known.sum(axis=-1, keepdims=True)
    found = np.where(known, (ranks - (runs + 1) / 2) / (runs + 1), np.nan)
    return np.split(found, np.cumsum([each.shape[-1] for each in samples])[:-1], axis=-1)


def first(sample: Bounds, other: Bounds, blocks: bool) -> float:
    """The p-value that a sample is lower, or gets there first; two-sided.

    The difference of the seeds' mean scores is compared with that of all other assignments of the
    seeds to the two samples; see the module for few seeds in several cells. It is 1 if the order is
    the other way.

    Args:
        sample: The first sample.
        other: The second sample, of the same cells and seeds.
        blocks: Whether runs of a seed are exchanged with each other only, because seeds matter and
            there are enough of them.
    """
    runs, blocks = _compared(sample, other, blocks)
    x, y = map(_by_seed, runs)
    if not len(x) or not len(y) or x.mean() >= y.mean() - _TIE:
        return 1.0
    cells = int(np.isfinite(runs[0]).any(axis=1).sum())
    few = (least_paired_p(len(x)) if blocks else least_p(len(x), len(y))) >= ALPHA
    if not few or cells < 2 or min(len(x), len(y)) < 2:
        return _exchanged(x, y, blocks)
    return max(_t_test(x, y, blocks), _within_cells(runs[0], runs[1], blocks))


def _compared(sample: Bounds, other: Bounds, blocks: bool) -> tuple[list[Array], bool]:
    """The scores of two samples, and whether runs of a seed are taken in pairs.

    They are not if they are in a single cell and too few to show anything so, while the same number
    of runs can without pairs.
    """
    values = [sample.most, other.least]
    runs = _scored(values, blocks)
    several = np.isfinite(runs[0]).any(axis=1).sum() > 1
    pairs = len(_by_seed(runs[0]))
    few = least_paired_p(pairs) >= ALPHA > least_p(pairs, pairs)
    if not blocks or several or not few:
        return runs, blocks
    return _scored(values, False), False


def _exchanged(x: Array, y: Array, blocks: bool) -> float:
    """The two-sided p-value of the seeds' scores by permutation; exact up to 20,000 arrangements.

    SciPy's ``permutation_test`` gives the same, in ten times the time.
    """
    if blocks:
        drawn = _signs(len(x)) @ (x - y)
        observed = (x - y).sum()
    else:
        drawn = np.concatenate([x, y])[_choices(len(x) + len(y), len(x), 0)].sum(axis=1)
        observed = x.sum()
    # Of random arrangements, the observed one is one more (Phipson and Smyth, 2010).
    more = int(len(drawn) == _DRAWN)
    tails = ((drawn <= observed + _TIE).sum(), (drawn >= observed - _TIE).sum())
    return float(min(1.0, 2 * (more + min(tails)) / (more + len(drawn))))


def _t_test(x: Array, y: Array, blocks: bool) -> float:
    """The two-sided p-value of equal mean scores of the seeds, by Student's or Welch's t-test."""
    spread = np.ptp(x - y) if blocks else max(np.ptp(x), np.ptp(y))
    if spread < _TIE:  # no variance to estimate
        return 0.0
    if blocks:
        return float(stats.ttest_rel(x, y).pvalue)
    # From means and deviations: ttest_ind warns if the scores of one sample are all equal.
    parts = [(each.mean(), each.std(ddof=1), len(each)) for each in (x, y)]
    return float(stats.ttest_ind_from_stats(*parts[0], *parts[1], equal_var=False).pvalue)


def _within_cells(first: Array, second: Array, blocks: bool) -> float:
    """The two-sided p-value of van Elteren's statistic, by permutation of runs within cells.

    From 20,000 permutations with a fixed seed, of which the observed one is one (Phipson and Smyth,
    2010); SciPy has no permutation within cells.

    Args:
        first: The scores of the first sample, (cells, seeds), with NaN for missing ones.
        second: Those of the second sample.
        blocks: Whether runs of a seed are exchanged with each other only.
    """
    if blocks:
        apart = (first - second)[np.isfinite(first - second)]
        observed = abs(apart.sum())
        drawn = np.random.default_rng(0).choice([-1.0, 1.0], size=(_DRAWN, len(apart))) @ apart
    else:
        drawn, observed = np.zeros(_DRAWN), abs(np.nansum(first))
        for place, (one, two) in enumerate(zip(first, second, strict=True)):
            cell = np.concatenate([one, two])
            cell = cell[np.isfinite(cell)]
            drawn += cell[_choices(len(cell), int(np.isfinite(one).sum()), place + 1)].sum(axis=1)
    return float((1 + (np.abs(drawn) >= observed - _TIE).sum()) / (1 + _DRAWN))


@lru_cache(maxsize=64)
def _choices(runs: int, chosen: int, place: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """All choices of some of so many runs, or 20,000 random ones, (choices, chosen).

    Args:
        runs: The number of runs.
        chosen: How many are chosen.
        place: The place of the cell, since each has random choices of its own.
    """
    if math.comb(runs, chosen) < _DRAWN and place == 0:
        return np.array(list(itertools.combinations(range(runs), chosen)), dtype=np.int16)
    every = np.broadcast_to(np.arange(runs, dtype=np.int16), (_DRAWN, runs))
    return np.random.default_rng([0, place]).permuted(every, axis=1)[:, :chosen]


@lru_cache(maxsize=64)
def _signs(pairs: int) -> Array:
    """All signs of so many pairs, or 20,000 random ones, (arrangements, pairs)."""
    if 2**pairs < _DRAWN:
        return np.array(list(itertools.product((-1.0, 1.0), repeat=pairs)))
    return np.random.default_rng(0).choice([-1.0, 1.0], size=(_DRAWN, pairs))


def in_order(cells: Sequence[Bounds], sign: int, blocks: bool) -> float:
    """The p-value that values rise (``sign`` 1) or fall (-1) over the samples; two-sided.

    Args:
        cells: The samples, in order, of the same cells and seeds.
        sign: The direction.
        blocks: As in :func:`first`.
    """
    middle = (len(cells) - 1) / 2
    places = [sign * (place - middle) for place in range(len(cells))]
    # What is only bounded counts against the order that is to be shown.
    values = [cell.most if place < 0 else cell.least
              for place, cell in zip(places, cells, strict=True)]  # fmt: skip
    scored = [_by_seed(each) for each in _scored(values, blocks)]
    return order_test(scored, places, blocks) if all(map(len, scored)) else 1.0


def step_by_step(cells: Sequence[Bounds], sign: int) -> list[int]:
    """For each sample and the next: 1 in the order asked for, -1 against it, 0 not known.

    Scores are compared. Where neither sample has a run that gets there, or what is only bounded
    decides, the order is not known.
    """
    found = []
    for one, two in pairwise(cells):
        ends = (one, two) if sign > 0 else (two, one)
        if _leans(ends[0].most, ends[1].least):
            found.append(1)
        else:
            found.append(-1 if _leans(ends[1].most, ends[0].least) else 0)
    return found


def least_rank_p(sample: Bounds, other: Bounds, blocks: bool) -> tuple[float, tuple[int, int]]:
    """The least p-value that :func:`first` can give, and the number of seeds of each sample.

    It is 0 for several cells of so few seeds that a t-test of their scores is used.
    """
    runs, blocks = _compared(sample, other, blocks)
    one, two = (len(_by_seed(each)) for each in runs)
    least = least_paired_p(one) if blocks else least_p(one, two)
    several = int(np.isfinite(runs[0]).any(axis=1).sum()) > 1 and min(one, two) > 1
    return 0.0 if several and least >= ALPHA else least, (one, two)


def has_pairs(sample: Bounds, other: Bounds, blocks: bool) -> bool:
    """Whether :func:`first` has anything to compare: a cell, of a seed in blocks, of both."""
    runs, _ = _compared(sample, other, blocks)
    return all(np.isfinite(each).any() for each in runs)


def most_are(true: Flags) -> float:
    """The p-value that something is so for most seeds, and so for the median; one-sided.

    A sign test: n of n seeds give 0.5^n.
    """
    found = stats.binomtest(int(true.sum()), len(true), 0.5, alternative="greater")
    return float(found.pvalue)


def _scored(samples: Sequence[Array], blocks: bool) -> list[Array]:
    """The scores of the runs; in blocks, of the cells and seeds that all samples have."""
    if blocks:
        whole = np.all([np.isfinite(each) for each in samples], axis=0)
        return scores([np.where(whole, each, np.nan) for each in samples])
    return scores(samples)


def _by_seed(runs: Array) -> Array:
    """The sum over cells of the scores of each seed that has any, (seeds,)."""
    known = np.isfinite(runs)
    found: Array = np.where(known, runs, 0.0).sum(axis=0)[known.any(axis=0)]
    return found


def _leans(low: Array, high: Array) -> bool:
    """Whether the scores of the first sample are lower on average."""
    x, y = map(_by_seed, _scored([low, high], False))
    return bool(len(x) and len(y) and x.mean() < y.mean() - _TIE)
