"""Compares the runs of two values of a setting: counts first, then levels.

Runs that diverged, failed or are in the worse of two groups did not learn. Levels are compared
among the other runs: paired by seed where seeds matter, else by Welch's test. Steps that were not
reached are compared up to a horizon that all runs share (restricted means). Where runs of both
groups are compared, or some did not reach the step, the ranks of all runs decide, as in verdicts.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ablab.experiments.measures import is_of_end
from ablab.read.effects.inference import Estimate
from ablab.read.effects.level import compare_levels
from ablab.read.effects.results import Array, Results
from ablab.read.statistics.counts import probability_difference, probability_test, unseen
from ablab.read.statistics.permutation import least_p, least_paired_p
from ablab.read.statistics.ranks import Arrivals, Bounds, first, least_rank_p

Interval = tuple[float, float]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
LEAST_GROUPED = 8
"""With fewer runs in two groups, the spread within a group is too uncertain for an interval."""

Grouping = Literal["learnt", "lower", "higher", "finished", "above", "reached"]


@dataclass(frozen=True)
class Counts:
    """How many runs of two cells learnt, finished, or are above a cut.

    Attributes:
        what: ``learnt`` (in the better of two groups), ``lower`` or ``higher`` (in that group, the
            better one, where the measure does not tell which runs learnt), ``above`` (the
            cut, if it is not declared which group is better), ``finished`` (neither diverged nor
            failed), or ``reached`` (the measured step, by the horizon).
        cut: The cut between the groups, in the measure (of steps, the horizon); None without
            groups.
        value: The number of runs at the value that did, and the number of its runs.
        reference: The same at the reference.
        difference: The difference of the probabilities.
        interval: Its exact 95% confidence interval (for runs that are independent).
        p: The p-value of equal probabilities, by Barnard's exact test.
        least_p: The least p-value that so few runs can give.
    """

    what: Grouping
    cut: float | None
    value: tuple[int, int]
    reference: tuple[int, int]
    difference: float
    interval: Interval
    p: float
    least_p: float

    def as_data(self) -> dict[str, Any]:
        """The counts as plain data."""
        data = dict(vars(self))
        return data | {name: list(data[name]) for name in ("value", "reference", "interval")}


@dataclass(frozen=True)
class Pair:
    """The comparison of two values of a setting.

    Attributes:
        level: The difference of levels over seeds.
        counts: The counts; None if all runs are of one kind.
        paired: Whether runs were paired by seed.
        p: The p-value of no difference in level or counts (Bonferroni, if both were tested).
        p_equivalence: The p-value of a level within the margin; None without a margin.
        cells: The number of cells of the other settings in each seed's average.
        pairs: The number of pairs of runs, including missing ones.
        missing: The number of pairs that lack a value.
        runs: The numbers of runs whose levels are compared, at the value and at the reference.
        ranks: The test of the ranks of all runs; None if levels decide.
    """

    level: Estimate
    counts: Counts | None
    paired: bool
    p: float | None
    p_equivalence: float | None
    cells: int
    pairs: int
    missing: int
    runs: tuple[int, int]
    ranks: "Ranks | None" = None

    @property
    def unseen(self) -> float | None:
        """The largest share of runs of a kind that was not seen, at either value (95%)."""
        return unseen(min(self.runs)) if min(self.runs) else None

    @property
    def p_level(self) -> float | None:
        """The p-value of no difference in level, corrected for the test of counts (Holm)."""
        known = (self.level.p, self.p)
        return None if known[0] is None or known[1] is None else max(known[0], known[1])

    @property
    def least_p(self) -> float | None:
        """The least p-value of an exact permutation test with so many seeds."""
        if self.ranks is not None:
            return self.ranks.least_p
        if not min(self.runs):
            return None
        if self.paired:
            return least_paired_p(self.level.seeds) if self.level.seeds else None
        return least_p(*self.runs)


@dataclass(frozen=True)
class Ranks:
    """The test of the ranks of all runs of two values, within the cells of the other settings.

    Attributes:
        p: Its p-value, two-sided.
        order: Whether the value is higher or lower than the reference; None if neither.
        least_p: The least p-value that so few seeds can give.
    """

    p: float
    order: Literal["higher", "lower"] | None
    least_p: float


def rank_test(value: Bounds, reference: Bounds, blocks: bool) -> Ranks:
    """Compares the runs of two values of a setting by ranks; see :mod:`.statistics.ranks`."""
    lower, higher = first(value, reference, blocks), first(reference, value, blocks)
    order: Literal["higher", "lower"] | None = None
    if lower != higher:
        order = "lower" if lower < higher else "higher"
    return Ranks(min(lower, higher), order, least_rank_p(value, reference, blocks)[0])


def compare_pair(
    results: Results,
    place: int,
    reference: int,
    table: Array,
    masks: "Masks",
    margin: float | None,
    several: bool,
) -> Pair:
    """Compares two values of a setting.

    Args:
        results: The results.
        place: The index of the value.
        reference: The index of the reference.
        table: The scaled values, (levels, cells, seeds).
        masks: What is known of each run, in the same shape.
        margin: The margin on the scale of ``table``.
        several: Whether it is one of several comparisons that are corrected together.
    """
    places = [place, reference]
    both = table[places]
    arrivals = None if masks.arrivals is None else masks.arrivals.at(places)
    ranks = None
    if arrivals is not None and arrivals.complete:
        # Every run of the pair got there, so nothing is cut off at the horizon of others.
        both = np.log(arrivals.values) if results.scale == "ratio" else arrivals.values
        masks = Masks(masks.failed, None, None)
    elif arrivals is not None:
        value, other = (arrivals.at(side).bounds(arrivals.horizon) for side in (0, 1))
        ranks = rank_test(value, other, results.paired)
    cut = results.cut if results.horizon is None or masks.reached is not None else None
    if results.horizon is None and not _mixed(both, cut):
        cut = None
    if results.horizon is None and cut is not None:
        ranks = rank_test(Bounds.exactly(both[0]), Bounds.exactly(both[1]), results.paired)
    gaps = ~np.isfinite(both).all(axis=0)
    counts, chosen = _counts(results, both, masks, places, cut)
    values = np.where(chosen, both, np.nan)
    size = float(np.abs(values[np.isfinite(values)]).max(initial=float(results.scale == "ratio")))
    found = compare_levels(values, results.paired, size, margin, several, results.two_ended)
    level, p_margin = found.estimate, found.p_equivalence
    by_steps = counts if counts is not None and counts.what == "reached" else None
    if by_steps is not None and not min(by_steps.value[0], by_steps.reference[0]):
        # A side on which no run reached it has a bound, not a level.
        level = Estimate(level.seeds, None, None, None, None, None)
        p_margin = None
    if cut is not None and np.isfinite(results.values).sum() < LEAST_GROUPED:
        level = Estimate(level.seeds, level.mean, None, None, None, None)
        p_margin = None
    tested = [each for each in (level.p, None if counts is None else counts.p) if each is not None]
    p = min(1.0, min(tested) * len(tested)) if tested else None
    return Pair(
        level, counts, found.paired, p if ranks is None else ranks.p, p_margin,
        found.cells if level.seeds else 0, gaps.size, int(gaps.sum()), found.runs, ranks,
    )  # fmt: skip


def _mixed(both: Array, cut: float | None) -> bool:
    """Whether the runs of a pair are on both sides of the cut between two groups."""
    if cut is None:
        return False
    known = both[np.isfinite(both)]
    return bool((known > cut).any() and (known < cut).any())


@dataclass(frozen=True)
class Masks:
    """What is known of each run, in the shape (levels, cells, seeds); None if nothing is."""

    failed: Flags | None
    reached: Flags | None
    arrivals: Arrivals | None = None


def _counts(
    results: Results, both: Array, masks: Masks, places: list[int], cut: float | None
) -> tuple[Counts | None, Flags]:
    """The counts of a pair, and which runs' levels are compared, (2, cells, seeds)."""
    there = np.isfinite(both)
    failed = np.zeros(both.shape, bool) if masks.failed is None else masks.failed[places]
    ended = there | failed
    shown_cut: float | None = None
    what: Grouping
    if cut is not None and masks.reached is not None:
        # The groups are runs that reached it and runs that did not; steps have no other.
        what, did, chosen = "reached", masks.reached[places], masks.reached[places]
        shown_cut = results.horizon
    elif cut is not None:
        above = there & (both > cut)
        what = "above" if results.better is None else results.better
        if results.better is not None and is_of_end(results.measure):
            what = "learnt"
        did = there & (both < cut) if results.better == "lower" else above
        shown_cut = float(np.exp(cut)) if results.scale == "ratio" else cut
        chosen = did
        if results.better is None and above.sum() * 2 < there.sum():
            chosen = there & ~above  # the larger group is compared
    elif failed.any():
        what, did, chosen = "finished", there, there
    elif masks.reached is not None and not masks.reached[places][there].all():
        what, did, chosen = "reached", masks.reached[places], there
    else:
        return None, there
    ran = [int(side.sum()) for side in ended]
    if not min(ran):
        return None, chosen
    one, other = ((int(side.sum()), n) for side, n in zip(did, ran, strict=True))
    return Counts(
        what, shown_cut, one, other,
        one[0] / one[1] - other[0] / other[1],
        probability_difference(*one, *other),
        probability_test(*one, *other),
        probability_test(one[1], one[1], 0, other[1]),
    ), chosen  # fmt: skip
