"""Tests of steps that some runs did not reach: exact ranks up to a common step, with bounds.

A run that did not reach a step has no number, so no mean is formed. Up to a *horizon*, the last
step that every run with a fixed end was trained to, it is known of each of them which came first:
a run that did not get there by the horizon comes after all that did. The ranks of the seeds are
compared by permutation, which is exact for any distribution. A run that something else ended
before the horizon (a stop rule, which can depend on the outcome; an error) is only bounded: it
counts as whatever is worst for what is to be shown. A run that diverged will never get there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from ablab.read.statistics.permutation import permutation_test

Floats = NDArray[np.float64]

_RESAMPLES = 20_000  # up to this number of permutations (8 vs 8 seeds), all of them are used
_SEED = 0  # of the random permutations


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest possible step of each seed, up to the horizon; each (seeds,).

    A seed of several cells has the mean over them. A seed lacks where a run has no value.
    """

    least: Floats
    most: Floats


def horizon(frame: pl.DataFrame) -> float:
    """The last step to which every run is known, except those that ended before their last step.

    Args:
        frame: The runs of all cells that are compared, with ``value``, ``not_before``, ``status``.
    """
    planned = frame.filter(pl.col("status") == "finished")["not_before"].drop_nulls()
    if len(planned):
        return float(planned.min())  # type: ignore[arg-type]
    known = [float(each) for name in ("value", "not_before") for each in frame[name].drop_nulls()]
    return max(known)


def bounds(frame: pl.DataFrame, end: float, later: float = 0.0) -> Bounds:
    """The bounds of each seed up to a horizon, in the order of the seeds.

    Args:
        frame: The runs of a sample.
        end: The horizon.
        later: Steps to add to each run's step.
    """
    least = pl.coalesce(
        pl.col("value"),
        pl.when(pl.col("status") == "diverged").then(end).otherwise(pl.col("not_before")),
    )
    made = (
        frame.filter(pl.col("value").is_not_null() | pl.col("not_before").is_not_null())
        .with_columns(least=least + later, most=pl.col("value").fill_null(np.inf) + later)
        .with_columns(pl.col("least", "most").clip(upper_bound=end))
        .group_by("seed").agg(pl.col("least", "most").mean()).sort("seed")
    )  # fmt: skip
    return Bounds(made["least"].to_numpy(), made["most"].to_numpy())


def first(sample: Bounds, other: Bounds) -> float:
    """The p-value that a sample gets there first; two-sided.

    The difference of mean ranks is compared with that of all other assignments of the seeds to
    the two samples (a permutation test, as Wilcoxon's with ties). It is 1 if the order is the
    other way.
    """
    early, late = sample.most, other.least

    ranks = stats.rankdata(np.concatenate([early, late]))
    x, y = ranks[: len(early)], ranks[len(early) :]
    if not len(x) or not len(y) or x.mean() >= y.mean():
        return 1.0
    return permutation_test(x, y)


def in_order(cells: Sequence[Bounds], sign: int) -> float:
    """The p-value that steps rise (``sign`` 1) or fall (-1) over the cells; two-sided.

    The sum of products of the cells' and the values' ranks is compared with that of other
    assignments of the values to the cells (a permutation test, as Spearman's with ties).
    """
    middle = (len(cells) - 1) / 2
    places = [sign * (place - middle) for place in range(len(cells))]
    # What is only bounded counts against the order that is to be shown.
    values = [cell.most if place < 0 else cell.least
              for place, cell in zip(places, cells, strict=True)]  # fmt: skip
    x = np.concatenate([np.full(len(v), p) for v, p in zip(values, places, strict=True)])
    ranks = stats.rankdata(np.concatenate(values))
    ranks = ranks - ranks.mean()

    def product(given: Floats, axis: int = -1) -> Floats:
        return np.asarray((given * ranks).sum(axis=axis))

    if product(x) <= 0:
        return 1.0
    found = stats.permutation_test(
        (x,), product, permutation_type="pairings", vectorized=True, n_resamples=_RESAMPLES,
        alternative="greater", rng=np.random.default_rng(_SEED),
    )  # fmt: skip
    return min(1.0, 2 * float(found.pvalue))


def step_by_step(cells: Sequence[Bounds], sign: int) -> list[int]:
    """For each cell and the next: 1 in the order asked for, -1 against it, 0 not known.

    Means up to the horizon are compared. Where neither cell has a seed that gets there, or what is
    only bounded decides, the order is not known.
    """
    found = []
    for one, two in pairwise(cells):
        ends = (one, two) if sign > 0 else (two, one)
        if ends[0].most.mean() < ends[1].least.mean():
            found.append(1)
        else:
            found.append(-1 if ends[0].least.mean() > ends[1].most.mean() else 0)
    return found


def most_are(true: NDArray[np.bool_]) -> float:
    """The p-value that something is so for most seeds, and so for the median; one-sided.

    A sign test: n of n seeds give 0.5^n.
    """
    found = stats.binomtest(int(true.sum()), len(true), 0.5, alternative="greater")
    return float(found.pvalue)
