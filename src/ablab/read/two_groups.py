"""Outcomes of relations between numbers of which runs fall into two groups: they learnt, or not.

A mean over both groups describes no run. So the runs of each group are counted first, ranks decide
instead of means, and the values of the better group follow.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from ablab.experiments.expectations import Expectation
from ablab.read.aligned import exact
from ablab.read.effects.results import Results
from ablab.read.hypothesis_tests import Floats, Sample, apart, gaps, why_no_pair
from ablab.read.judgements import Found, Outcome, limits, of_range
from ablab.read.measured import shown
from ablab.read.not_reached import few_ranks
from ablab.read.statistics.counts import probability_test
from ablab.read.statistics.groups import LOGARITHMIC, guessing_cut, notice_cut
from ablab.read.statistics.ranks import (
    Bounds,
    first,
    has_pairs,
    in_order,
    most_are,
    step_by_step,
)
from ablab.read.trend_tests import ONE_SEED
from ablab.tasks.config import Direction


@dataclass(frozen=True)
class Groups:
    """Two groups of runs.

    Attributes:
        cut: A value between them.
        better: Which group is better; None if that was not declared.
        steps: Whether the values are steps.
        ends: Whether the values tell where runs came to, so that those of the better group learnt.
    """

    cut: float
    better: Direction | None
    steps: bool = False
    ends: bool = True

    def of(self, sample: Sample) -> Floats:
        """The values of a sample in the better group; the lower one if neither is."""
        values = sample.known["value"].to_numpy()
        found: Floats = values[values > self.cut if self.better == "higher" else values < self.cut]
        return found

    def counts(self, *samples: Sample) -> str:
        """How many runs of each sample are in the better group, and where the groups part."""
        cut = shown(self.cut)
        word = "learnt" if self.better else f"are below {cut}"
        if self.steps:
            word = f"took fewer than {cut} steps"
        parts = [f"{len(self.of(each))} of {each.known.height}" for each in samples]
        side = "above" if self.better == "higher" else "below"
        told = f"{side} {cut}, " if self.better and not self.steps else "a value "
        if self.better and not self.steps and not self.ends:
            word = f"are in {self._group}"
        return f"{' vs '.join(parts)} runs {word} ({told}between two groups of runs)"

    @property
    def _group(self) -> str:
        return "the higher group" if self.better == "higher" else "the lower group"

    def levels(self, *samples: Sample) -> str:
        """The medians of the better group in each sample that has one."""
        found = [self.of(each) for each in samples]
        medians = [shown(float(np.median(each))) if len(each) else "none" for each in found]
        those = "those that learnt" if self.better and self.ends else self._group
        if self.steps:
            those = "of those"
        unit = " steps" if self.steps else ""
        return f"; {those}: median {' vs '.join(medians)}{unit}"


def known(
    results: Results, better: Direction | None, *samples: Sample, steps: bool = False
) -> Groups | None:
    """The two groups that effects notice over the whole grid, if some samples have runs of both.

    Args:
        results: The results of all runs.
        better: Which values are better; None if that was not declared.
        samples: The samples that are compared.
        steps: Whether the values are steps.
    """
    if results.cut is None or results.horizon is not None:
        return None
    cut = float(np.exp(results.cut)) if results.scale == "ratio" else results.cut
    values = np.concatenate([each.known["value"].to_numpy() for each in samples])
    if not (values > cut).any() or not (values < cut).any():
        return None
    return Groups(cut, better, steps)


def notice(
    better: Direction | None, *samples: Sample, guessing: float | None = None
) -> Groups | None:
    """The two groups into which the runs of some samples fall; None if they do not.

    Args:
        better: Which values are better, if declared.
        samples: The samples.
        guessing: The loss of guessing, if declared and the values are losses.
    """
    frames = [sample.known for sample in samples]
    rows: list[Floats] = []
    for sample, frame in zip(samples, frames, strict=True):
        parts = frame.partition_by(sample.keys) if sample.keys else [frame]
        rows += [part["value"].to_numpy() for part in parts]
    longest = max((len(row) for row in rows), default=0)
    if not longest:
        return None
    values = np.full((len(rows), longest), np.nan)
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    known = np.nan if guessing is None else guessing_cut(values, guessing)
    if not np.isnan(known):
        return Groups(known, better)
    least, most = np.nanmin(values), np.nanmax(values)
    logarithmic = bool(least > 0 and most / least > LOGARITHMIC)
    cut = float(notice_cut(np.log(values) if logarithmic else values))
    if np.isnan(cut):
        return None
    return Groups(float(np.exp(cut)) if logarithmic else cut, better)


def compare(
    sample: Sample, other: Sample, expectation: Expectation, groups: Groups, blocks: bool
) -> Found:
    """Whether values are lower, higher or the same in some cells as in others, by ranks."""
    counts = [(len(groups.of(each)), each.known.height) for each in (sample, other)]
    p_counts = probability_test(*counts[0], *counts[1])
    evidence = f"{groups.counts(sample, other)}: p = {p_counts:.2g}{groups.levels(sample, other)}"
    one, two = exact([sample, other])

    def p_lower(low: Bounds, high: Bounds, by: float) -> float:
        """The p-value that the first sample is lower by more than so much."""
        return first(low.later(by), high, blocks)

    lost = apart(sample, other) + gaps(sample, other)
    if not has_pairs(one, two, blocks):
        nothing = f"; nothing to compare by ranks: {why_no_pair(sample, other)}"
        return Found("undecided", evidence + nothing + lost)
    few = few_ranks(one, two, blocks)
    if expectation.relation == "same_as":
        margin = expectation.margin
        assert margin is not None, "checked with the expectation"
        p = min(1.0, 2 * min(p_lower(one, two, margin), p_lower(two, one, margin)))
        evidence += f"; ranks of all, for a difference of {margin:g}: p = {p:.2g}{few}{lost}"
        outcome: Outcome = "failed" if p < sample.alpha else "undecided"
        return Found(outcome, evidence, p=p)
    ways = (one, two) if expectation.relation == "lower_than" else (two, one)
    p, against = p_lower(*ways, expectation.by), p_lower(ways[1], ways[0], -expectation.by)
    by = f", for a difference of {expectation.by:g}" if expectation.by else ""
    evidence += f"; ranks of all{by}: p = {min(p, against):.2g}{few}{lost}"
    return Found(_decided(p, against, sample.alpha), evidence, p=min(p, against))


def order(sample: Sample, expectation: Expectation, groups: Groups, blocks: bool) -> Found | None:
    """Whether values fall, or rise, from each value of a setting to the next, by ranks."""
    key = expectation.falls_with or expectation.rises_with
    assert key is not None, "given by the relation"
    labels = sample.levels(key)
    if isinstance(labels, str) or expectation.factor is not None:
        return None
    cells = [sample.at(key, label) for label in labels]
    if any(cell.known.is_empty() for cell in cells):
        return None
    sign = -1 if expectation.falls_with else 1
    names = ", ".join(str(label) for label in labels)
    evidence = f"{groups.counts(*cells)} at {names}{groups.levels(*cells)}"
    if sample.seeds == 1:
        return Found("undecided", f"{evidence}; {ONE_SEED}{gaps(sample)}")
    lost = apart(*cells) + gaps(sample)
    made = exact(cells)
    p, against = in_order(made, sign, blocks), in_order(made, -sign, blocks)
    evidence += f"; ranks of all: p = {min(p, against):.2g}{lost}"
    wrong = [f"{a} to {b}" for (a, b), move in zip(
        pairwise(labels), step_by_step(made, sign), strict=True) if move < 0]  # fmt: skip
    if wrong:
        evidence += f"; opposite direction from {', '.join(wrong)}"
    outcome = _decided(p, against, sample.alpha)
    if outcome == "held" and wrong:
        outcome = "undecided"
    return Found(outcome, evidence, p=min(p, against))


def within(sample: Sample, expectation: Expectation, groups: Groups) -> Found:
    """Whether the median over seeds is in a range (sign test).

    A seed is inside, above or below if its runs of all cells are: no mean over both groups is
    formed.
    """
    low, high = limits(expectation)
    least, most = _ends(sample)
    strict = expectation.within is None
    inside = (low < least) & (most < high) if strict else (low <= least) & (most <= high)
    above = least >= high if strict else least > high
    below = most <= low if strict else most < low
    p, against = most_are(inside), min(most_are(above), most_are(below))
    outcome = _decided(p, against, sample.alpha)
    evidence = (
        f"{groups.counts(sample)}{groups.levels(sample)}; sign test of the median over seeds: "
        f"p = {min(p, against):.2g}{gaps(sample)}{of_range(outcome, expectation.range)}"
    )
    return Found(outcome, evidence, p=min(p, against))


def _ends(sample: Sample) -> tuple[Floats, Floats]:
    """The least and the greatest value of each seed over its cells."""
    value = pl.col("value")
    found = sample.known.group_by("seed").agg(value.min().alias("least"), value.max().alias("most"))
    found = found.sort("seed")
    return found["least"].to_numpy(), found["most"].to_numpy()


def _decided(p: float, against: float, alpha: float) -> Outcome:
    if p < alpha:
        return "held"
    return "failed" if against < alpha else "undecided"
