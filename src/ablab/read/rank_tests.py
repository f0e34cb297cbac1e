"""Tests of steps that some runs did not reach: exact ranks up to a common step, with bounds.

A run that did not reach a step has no number, so no mean is formed. Up to a *horizon*, the last
step that every run with a fixed end was trained to, it is known of each of them which came first:
a run that did not get there by the horizon comes after all that did. The ranks of the seeds are
compared by permutation, which is exact for any distribution: within seeds where effects pair by
seed too, else over all. A run that something else ended before the horizon (a stop rule, which can
depend on the outcome; an error) is only bounded: it counts as whatever is worst for what is to be
shown. A run that diverged will never get there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from ablab.read.effects.inference import ALPHA
from ablab.read.statistics.permutation import (
    least_p,
    least_paired_p,
    order_test,
    permutation_test,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest possible step of each seed, up to the horizon; each (seeds,).

    A seed of several cells has the mean over them. A seed lacks where a run has no value.
    """

    least: Floats
    most: Floats
    seeds: NDArray[np.int64]


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
    return Bounds(made["least"].to_numpy(), made["most"].to_numpy(), made["seed"].to_numpy())


def first(sample: Bounds, other: Bounds, blocks: bool) -> float:
    """The p-value that a sample gets there first; two-sided.

    The difference of mean ranks is compared with that of all other assignments of the seeds to
    the two samples. It is 1 if the order is the other way.

    Args:
        sample: The first sample.
        other: The second sample.
        blocks: Whether runs of a seed are exchanged with each other only, because seeds matter.
    """
    if blocks:
        sample, other = _common((sample, other))
    early, late = sample.most, other.least
    ranks = stats.rankdata(np.concatenate([early, late]))
    x, y = ranks[: len(early)], ranks[len(early) :]
    if not len(x) or not len(y) or x.mean() >= y.mean():
        return 1.0
    return permutation_test(x, y, blocks)


def in_order(cells: Sequence[Bounds], sign: int, blocks: bool) -> float:
    """The p-value that steps rise (``sign`` 1) or fall (-1) over the cells; two-sided.

    Args:
        cells: The cells, in order.
        sign: The direction.
        blocks: As in :func:`first`.
    """
    cells = _common(cells) if blocks else cells
    middle = (len(cells) - 1) / 2
    places = [sign * (place - middle) for place in range(len(cells))]
    # What is only bounded counts against the order that is to be shown.
    values = [cell.most if place < 0 else cell.least
              for place, cell in zip(places, cells, strict=True)]  # fmt: skip
    ranks = stats.rankdata(np.concatenate(values))
    ends = np.cumsum([len(each) for each in values])[:-1]
    return order_test(np.split(ranks, ends), places, blocks)


def few_ranks(sample: Bounds, other: Bounds, blocks: bool) -> str:
    """A remark if :func:`first` cannot show anything of so few seeds; may be empty."""
    one, two = len(sample.seeds), len(other.seeds)
    least, seeds = least_p(one, two), f"{one} vs {two} seeds"
    if blocks:
        pairs = len(_common((sample, other))[0].seeds)
        least, seeds = least_paired_p(pairs), f"{pairs} pairs of a seed"
    return "" if least < ALPHA else f" ({seeds} cannot give less than {least:.2g})"


def _common(cells: Sequence[Bounds]) -> list[Bounds]:
    """The bounds of the seeds that all cells have."""
    seeds = set(cells[0].seeds.tolist()).intersection(*(each.seeds.tolist() for each in cells))
    shared = [np.isin(each.seeds, list(seeds)) for each in cells]
    return [Bounds(each.least[k], each.most[k], each.seeds[k])
            for each, k in zip(cells, shared, strict=True)]  # fmt: skip


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
