"""Outcomes of relations between steps that some runs did not reach.

No mean is formed over such steps, and no last step stands for one. What decides is exact ranks up
to a common step, within the cells of other settings, with bounds for runs that ended before; see
``statistics.ranks``. Else it is undecided. Effects use the same tests.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl

from ablab.experiments.expectations import Expectation
from ablab.experiments.measures import Measure
from ablab.read.aligned import aligned, bounds, horizon
from ablab.read.hypothesis_tests import Floats, Sample, apart, gaps, why_no_pair
from ablab.read.judgements import ALPHA, Found, Outcome, limits, of_range
from ablab.read.measured import is_paused, shown
from ablab.read.measures import is_step
from ablab.read.statistics.counts import unseen
from ablab.read.statistics.ranks import (
    Arrivals,
    Bounds,
    first,
    has_pairs,
    in_order,
    least_rank_p,
    most_are,
    step_by_step,
)
from ablab.read.trend_tests import ONE_SEED


def order(sample: Sample, expectation: Expectation, measure: Measure, blocks: bool) -> Found:
    """Whether steps come earlier, or later, from each value of a setting to the next."""
    key = expectation.falls_with or expectation.rises_with
    assert key is not None, "given by the relation"
    sign = -1 if expectation.falls_with else 1
    ordered = sample.levels(key)
    if isinstance(ordered, str):
        return Found("undecided", ordered)
    cells = [sample.at(key, label) for label in ordered]
    empty = [str(label) for label, cell in zip(ordered, cells, strict=True) if cell.is_lost]
    if empty:
        why = f"no run has a value at {key}={', '.join(empty)}: {sample.why()}"
        return Found("undecided", why)
    runs = aligned(cells)
    end = horizon(runs)
    counts = tuple(reached(cell) for cell in cells)
    verb = _verb(measure)
    path = ", ".join(
        f"{_of(count)} at {label}{_when(cell, measure)}"
        for label, count, cell in zip(ordered, counts, cells, strict=True)
    )
    evidence = f"{verb} by {path}"
    made = [bounds(each, end) for each in runs]
    p, reverse = in_order(made, sign, blocks), in_order(made, -sign, blocks)
    remark = _ends(sample.frame) + apart(*cells) + gaps(sample)
    up_to = _up_to(sample.frame, end, measure)
    nothing = ONE_SEED if sample.seeds == 1 else ""
    if not any(count for count, _ in counts):
        nothing = f"nothing to compare {up_to}"
    if nothing:
        return Found("undecided", f"{evidence}; {nothing}{remark}", counts=counts)
    if expectation.factor is not None:
        outcome: Outcome = "failed" if reverse < sample.alpha else "undecided"
        shown = "shown" if outcome == "failed" else "not shown"
        evidence += (
            "; no factor can be given of steps that were not reached, and the opposite order is "
            f"{shown}: ranks {up_to}, p = {reverse:.2g}{remark}"
        )
        return Found(outcome, evidence, p=reverse, counts=counts)
    evidence += f"; ranks {up_to}: p = {min(p, reverse):.2g}{remark}"
    moves = step_by_step(made, sign)
    for move, words in ((0, "no order is known"), (-1, "opposite direction")):
        where = [f"{before} to {after}"
                 for (before, after), found in zip(pairwise(ordered), moves, strict=True)
                 if found == move]  # fmt: skip
        evidence += f"; {words} from {', '.join(where)}" if where else ""
    if reverse < sample.alpha:
        return Found("failed", evidence, p=reverse, counts=counts)
    decided = p < sample.alpha and all(move == 1 for move in moves)
    return Found("held" if decided else "undecided", evidence, p=min(p, reverse), counts=counts)


def compare(
    sample: Sample, other: Sample, expectation: Expectation, measure: Measure, blocks: bool
) -> Found:
    """Whether steps come earlier, later or at the same time in some cells as in others."""
    counts = (reached(sample), reached(other))
    evidence = (
        f"{_verb(measure)} by {_of(counts[0])}{_when(sample, measure)}, "
        f"and by {_of(counts[1])}{_when(other, measure)}"
    )
    both = pl.concat([sample.frame, other.frame], how="diagonal")
    runs = one, two = aligned([sample, other])
    end = horizon(runs)

    def p_first(early: Arrivals, late: Arrivals, by: float) -> float:
        """The p-value that the first sample gets there first by more than so many steps."""
        made = bounds(early, end, max(by, 0.0)), bounds(late, end, max(-by, 0.0))
        return first(*made, blocks)

    remark = _ends(both) + apart(sample, other) + gaps(sample, other)
    up_to = _up_to(both, end, measure)
    nothing = ""
    if not counts[0][0] and not counts[1][0]:
        nothing = f"nothing to compare {up_to}"
    elif not has_pairs(bounds(one, end), bounds(two, end), blocks):
        nothing = f"nothing to compare: {why_no_pair(sample, other)}"
    if nothing:
        return Found("undecided", f"{evidence}; {nothing}{remark}", counts=counts)
    few = few_ranks(bounds(one, end), bounds(two, end), blocks)
    if expectation.relation == "same_as":
        margin = expectation.margin
        assert margin is not None, "checked with the expectation"
        p = min(1.0, 2 * min(p_first(one, two, margin), p_first(two, one, margin)))
        evidence += f"; ranks {up_to}, for a difference of {margin:g}: p = {p:.2g}"
        if p < sample.alpha:
            return Found("failed", evidence + remark, p=p, counts=counts)
        evidence += few + remark
        evidence += "; steps that were not reached cannot be shown to be the same"
        return Found("undecided", evidence, p=p, counts=counts)
    ways = (one, two) if expectation.relation == "lower_than" else (two, one)
    p = p_first(*ways, expectation.by)
    against = p_first(ways[1], ways[0], -expectation.by)
    by = f", for a difference of {expectation.by:g}" if expectation.by else ""
    evidence += f"; ranks {up_to}{by}: p = {min(p, against):.2g}{few}{remark}"
    outcome: Outcome = "undecided"
    if p < sample.alpha:
        outcome = "held"
    elif against < sample.alpha:
        outcome = "failed"
    return Found(outcome, evidence, p=min(p, against), counts=counts)


def within(sample: Sample, expectation: Expectation, measure: Measure) -> Found:
    """Whether the median over seeds is in a range; with one seed, whether its value is."""
    low, high = limits(expectation)
    counts = (reached(sample),)
    least, most = _unlimited(sample.frame)
    strict = expectation.within is None
    over = low < least if strict else low <= least
    under = np.isinf(high) | (most < high if strict else most <= high)
    inside = over & under
    above = least >= high if strict else least > high
    below = most <= low if strict else most < low
    ended = max(sample.frame["not_before"].drop_nulls().to_list())
    up_to = f"{ended:,} steps" if measure.function == "lag" else f"step {ended:,}"
    evidence = f"{_verb(measure)} by {_of(counts[0])}{_when(sample, measure)} up to {up_to}"
    lost = gaps(sample)
    if len(inside) == 1:
        outcome: Outcome = "held" if inside[0] else "failed" if above[0] | below[0] else "undecided"
        if sample.lost.height:  # which seed was measured is chance, too
            return Found("undecided", evidence + lost, counts=counts)
        evidence += f", for this seed only{lost}{of_range(outcome, expectation.range)}"
        return Found(outcome, evidence, counts=counts)
    tests: dict[Outcome, float] = {
        "held": most_are(inside), "failed": min(most_are(above), most_are(below))
    }  # fmt: skip
    side = min(tests, key=lambda each: tests[each])
    p = tests[side]
    seeds = len(inside)
    few = (
        f"; {seeds} seeds cannot give less than {0.5**seeds:.2g}"
        if 0.5**seeds >= sample.alpha
        else ""
    )
    decided: Outcome = side if p < sample.alpha else "undecided"
    evidence += f"; sign test of the median over seeds: p = {p:.2g}{few}{lost}"
    evidence += of_range(decided, expectation.range)
    return Found(decided, evidence, p=p, counts=counts)


def of_those_that_did(found: Found, sample: Sample, other: Sample, measure: Measure) -> Found:
    """Says of values that are the same what so few seeds leave open.

    That all of a few runs reached a step, or are alike, bounds the share of runs that are not
    (Clopper and Pearson, 1934).
    """
    seeds = min(each.known["seed"].n_unique() for each in (sample, other))
    runs = f"runs that {_verb(measure)} it" if is_step(measure) else "runs like these"
    share = f"up to {unseen(seeds):.0%} of runs may be of another kind"
    text = f"; this holds for {runs}: after {seeds} of {seeds}, {share}"
    return replace(found, evidence=found.evidence + text)


def few_ranks(sample: Bounds, other: Bounds, blocks: bool) -> str:
    """A remark if ranks cannot show anything of so few seeds; may be empty."""
    least, (one, two) = least_rank_p(sample, other, blocks)
    seeds = f"{one} pairs of a seed" if blocks else f"{one} vs {two} seeds"
    return "" if least < ALPHA else f" ({seeds} cannot give less than {least:.2g})"


def reached(sample: Sample) -> tuple[int, int]:
    """How many runs reached the step, and of how many for which it is known whether they did."""
    got = sample.known.height
    return got, got + sample.unreached


def _unlimited(frame: pl.DataFrame) -> tuple[Floats, Floats]:
    """The least and the greatest step of each seed over its cells; infinite if not known."""
    known = frame.filter(pl.col("value").is_not_null() | pl.col("not_before").is_not_null())
    least = pl.when(pl.col("status") == "diverged").then(np.inf).otherwise(pl.col("not_before"))
    made = (
        known.with_columns(
            least=pl.coalesce("value", least), most=pl.col("value").fill_null(np.inf)
        )
        .group_by("seed").agg(pl.col("least").min(), pl.col("most").max()).sort("seed")
    )  # fmt: skip
    return made["least"].to_numpy(), made["most"].to_numpy()


def _verb(measure: Measure) -> str:
    return "left" if measure.function == "leaves" else "reached"


def _of(count: tuple[int, int]) -> str:
    return f"{count[0]} of {count[1]}"


def _when(sample: Sample, measure: Measure) -> str:
    """The median of the steps that were reached, if all were; else their range."""
    values = sample.known["value"].to_numpy()
    if not len(values):
        return ""
    low, high = shown(float(values.min())), shown(float(values.max()))
    if not sample.unreached:
        text = f"median {{}}{shown(float(np.median(values)))}"
    else:
        text = f"{{}}{low}" if low == high else f"{{}}{low} to {high}"
    if measure.function == "lag":
        return f" ({text.format('')} steps)"
    many = "s" if sample.unreached and low != high else ""
    return f" ({text.format(f'step{many} ')})"


def _up_to(frame: pl.DataFrame, end: float, measure: Measure) -> str:
    """The step up to which ranks are compared."""
    text = f"up to {end:,.0f} steps" if measure.function == "lag" else f"up to step {end:,.0f}"
    planned = frame.filter(pl.col("status") == "finished").select("value", "not_before")
    further = any((planned[name].fill_null(end) > end).any() for name in planned.columns)
    return text + (", the last that every cell was trained to" if further else "")


def _ends(frame: pl.DataFrame) -> str:
    """What ended the runs that did not get there before their last step."""
    missed = frame.filter(pl.col("not_before").is_not_null())
    text = ""
    counts = dict(missed["status"].value_counts().iter_rows())
    paused = missed.filter((pl.col("status") == "stopped") & is_paused()).height
    counts |= {"paused": paused, "stopped": counts.get("stopped", 0) - paused}
    for status, one, many in (
        ("paused", "was paused by halving and counts", "were paused by halving and count"),
        ("stopped", "was ended by a stop rule and counts", "were ended by a stop rule and count"),
        ("failed", "failed and counts", "failed and count"),
    ):
        if counts.get(status):
            words = one if counts[status] == 1 else many
            text += f"; {counts[status]} of the other runs {words} as what is worst for the claim"
    if "diverged" in counts:
        text += f"; {counts['diverged']} of the other runs diverged"
    return text
