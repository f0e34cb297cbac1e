"""Rank tests within the cells of other settings, of values of which some are only bounded.

The runs of the compared values of a setting are ranked within each cell of the other settings, so
that differences between those cells do not matter, and the ranks of a cell are weighted by one
over its number of runs plus one (van Elteren, 1960). What is permuted is the seed with its scores
over all cells, because runs of a seed share their batches; that is exact for any distribution and
any correlation within a seed. With a single cell it is Wilcoxon's test, with ties.

A run that did not reach a step has no number. Up to a *horizon*, the last step that every run with
a fixed end was trained to, it is known of each run which came first: one that did not get there by
the horizon comes after all that did. A run that something else ended before the horizon (a stop
rule, which can depend on the outcome; an error) is only bounded: it counts as whatever is worst for
what is to be shown. A run that diverged will never get there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

from ablab.read.statistics.array import Array, Flags
from ablab.read.statistics.permutation import (
    least_p,
    least_paired_p,
    order_test,
    permutation_test,
)

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
    """The score of each seed in each sample: its ranks, less their expectation, over all cells.

    In a cell with N runs, the score of a run of rank r is (r - (N + 1) / 2) / (N + 1), so the sum
    over a sample is van Elteren's statistic (1960). A run without a value has no score, and a cell
    with runs of one sample only none at all.

    Args:
        samples: The values of each sample, each (cells, seeds), with NaN for missing ones.

    Returns:
        For each sample the scores, (seeds,); NaN for a seed without any.
    """
    comparable = sum(np.isfinite(each).any(axis=-1).astype(int) for each in samples) > 1
    values = np.concatenate(samples, axis=-1)[comparable]
    known = np.isfinite(values)
    ranks = stats.rankdata(values, axis=-1, nan_policy="omit") if values.size else values
    runs = known.sum(axis=-1, keepdims=True)
    mine = np.where(known, (ranks - (runs + 1) / 2) / (runs + 1), 0.0).sum(axis=0)
    mine = np.where(known.any(axis=0), mine, np.nan)
    return np.split(mine, np.cumsum([each.shape[-1] for each in samples])[:-1])


def first(sample: Bounds, other: Bounds, blocks: bool) -> float:
    """The p-value that a sample is lower, or gets there first; two-sided.

    The difference of mean scores is compared with that of all other assignments of the seeds to
    the two samples. It is 1 if the order is the other way.

    Args:
        sample: The first sample.
        other: The second sample, of the same cells and seeds.
        blocks: Whether runs of a seed are exchanged with each other only, because seeds matter.
    """
    x, y = _scored([sample.most, other.least], blocks)
    if not len(x) or not len(y) or x.mean() >= y.mean() - _TIE:
        return 1.0
    return permutation_test(x, y, blocks)


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
    scored = _scored(values, blocks)
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
    """The least p-value that :func:`first` can give, and the number of seeds of each sample."""
    one, two = map(len, _scored([sample.most, other.least], blocks))
    return least_paired_p(one) if blocks else least_p(one, two), (one, two)


def most_are(true: Flags) -> float:
    """The p-value that something is so for most seeds, and so for the median; one-sided.

    A sign test: n of n seeds give 0.5^n.
    """
    found = stats.binomtest(int(true.sum()), len(true), 0.5, alternative="greater")
    return float(found.pvalue)


def _scored(samples: Sequence[Array], blocks: bool) -> list[Array]:
    """The scores of the seeds that have any; in blocks, of those that all samples have."""
    if blocks:
        whole = np.all([np.isfinite(each) for each in samples], axis=0)
        found = scores([np.where(whole, each, np.nan) for each in samples])
        shared = np.all([np.isfinite(each) for each in found], axis=0)
        return [each[shared] for each in found]
    return [each[np.isfinite(each)] for each in scores(samples)]


def _leans(low: Array, high: Array) -> bool:
    """Whether the scores of the first sample are lower on average."""
    x, y = _scored([low, high], False)
    return bool(len(x) and len(y) and x.mean() < y.mean() - _TIE)
