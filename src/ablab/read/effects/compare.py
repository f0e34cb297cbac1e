"""Compares the values of a setting: a table of comparisons is one family."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ablab.config import InputError, Problem
from ablab.read.effects.estimands import estimand, why_none
from ablab.read.effects.inference import (
    ALPHA,
    Estimate,
    Interval,
    holm,
)
from ablab.read.effects.pairwise import Counts, Masks, Pair, compare_pair
from ablab.read.effects.power import seeds_for_equivalence, seeds_to_detect
from ablab.read.effects.results import Array, Others, Results, Scale
from ablab.read.effects.shown_comparison import ShownComparison

Against = Literal["base", "each"]
Verdict = Literal["differs", "equivalent", "equivalent_among_seen", "undecided"]

WIDEST = 1000.0
"""An interval of a ratio that reaches farther to either side estimates nothing."""
TOO_WIDE = f"its interval reaches more than a factor of {WIDEST:,.0f} to either side"

RARE = 0.1
"""Equivalence is claimed of all runs only if runs of another kind are at most this share."""


@dataclass(frozen=True, repr=False)
class Comparison(ShownComparison):
    """A comparison of one value of a setting with another.

    On the ratio scale, ``difference``, ``interval``, ``bound`` and ``margin`` are factors, and
    ``deviation`` is the standard deviation of natural logarithms.

    Attributes:
        key: The setting.
        value: The value of the setting.
        reference: The value with which it is compared.
        others: ``base`` if all other settings are at their base values, ``all`` if they are
            averaged over.
        scale: Whether ``difference`` is a difference or a ratio.
        seeds: The number of seeds with a level; if runs are not paired, on the side with fewer.
        cells: The number of cells of the other settings in each seed's average; 0 if there is no
            difference.
        pairs: The number of pairs of runs, including missing ones.
        missing: The number of pairs that lack a value.
        difference: The level of the value minus that of the reference (on the ratio scale, the
            ratio of geometric means), as ``estimand`` says; None if one side has no run with a
            level.
        interval: The 95% confidence interval of ``difference``, for this comparison only; None if
            the variance is unknown (one seed, or equal values), or if simulation does not support
            one (see ``why_none``).
        deviation: The standard deviation of a seed's difference; None if it is not known, as of one
            seed.
        p: The p-value of no difference in level, or of equal ranks of all runs (``ranked``); if
            some runs diverged, in level or in counts. In a table of several comparisons, Welch's
            has fewer degrees of freedom than its interval, so that the correction holds. None if
            nothing could be tested, as with one seed.
        p_adjusted: The p-value with Holm's correction over the table; None if ``p`` is.
        bound: The smallest margin for which equivalence would hold, from the 90% interval; None if
            there is no interval.
        margin: The equivalence margin; None if none was stated.
        p_equivalence: The p-value of two one-sided t-tests against the margin; None if there is no
            margin, or nothing could be tested.
        p_equivalence_adjusted: The same with Holm's correction over the table; None if
            ``p_equivalence`` is.
        verdict: ``differs`` if the adjusted p-value is at most 5%; else, if the adjusted
            equivalence test passes, ``equivalent`` where the counts show that at least 90% of runs
            are of the compared kind, and ``equivalent_among_seen`` where they leave more open;
            else ``undecided``.
        family: The number of tested comparisons in the table.
        counts: How many runs learnt, finished or reached a step; None if all runs are of one kind.
        estimand: What ``difference`` and ``interval`` are about, in words.
        paired: Whether runs were paired by seed (else: Welch's test).
        unseen: The largest share of runs that may be of a kind that was not seen (95%); None if one
            side has no run with a level.
        least_p: The least p-value of an exact permutation test with so many seeds; None if there is
            nothing to permute.
        why_none: Why there is no interval; None if there is one.
        horizon: The step up to which steps are compared; None if every run of both sides reached
            its step, or the measure is no step.
        order: Whether the ranks of all runs are higher or lower than those of the reference, where
            they decide: where some runs did not reach the step, or runs of two groups are compared.
            None if levels decide, or ranks show neither.
        ranked: Whether ``p`` is that of the ranks of all runs.
        p_level: The p-value of no difference in level, corrected for the test of counts if some
            runs diverged (so never below ``p``); None if it was not tested.
    """

    key: str
    value: Any
    reference: Any
    others: Others
    scale: Scale
    seeds: int
    cells: int
    pairs: int
    missing: int
    difference: float | None
    interval: Interval | None
    deviation: float | None
    p: float | None
    p_adjusted: float | None
    bound: float | None
    margin: float | None
    p_equivalence: float | None
    p_equivalence_adjusted: float | None
    verdict: Verdict
    family: int
    counts: Counts | None = None
    estimand: str = "difference of medians"
    paired: bool = True
    unseen: float | None = None
    least_p: float | None = None
    why_none: str | None = None
    horizon: float | None = None
    order: Literal["higher", "lower"] | None = None
    ranked: bool = False
    p_level: float | None = None

    @property
    def level_differs(self) -> bool:
        """Whether the interval of the level excludes no difference."""
        if self.interval is None:
            return self.counts is None
        level = 1.0 if self.scale == "ratio" else 0.0
        return not self.interval[0] <= level <= self.interval[1]

    @property
    def within_margin(self) -> bool:
        """Whether an equivalence test against the stated margin passed."""
        p = self.p_equivalence_adjusted
        return p is not None and p <= ALPHA

    @property
    def direction(self) -> Literal["higher", "lower"] | None:
        """Whether the value is above or below the reference; None if equal or unknown.

        It is what the numbers show, whether or not ``verdict`` is ``differs``.
        """
        if self.ranked:
            return self.order
        level = 1.0 if self.scale == "ratio" else 0.0
        if self.difference is None or self.difference == level:
            return None
        return "higher" if self.difference > level else "lower"

    @property
    def seeds_to_detect(self) -> int | None:
        """The approximate number of seeds needed to detect a difference of this size.

        None if the difference or its deviation is unknown or zero, or more than 10,000 are needed.
        """
        if self.difference is None or self.deviation is None:
            return None
        size = _to_scale(self.difference, self.scale)
        return seeds_to_detect(size, self.deviation, self.family)

    @property
    def seeds_for_equivalence(self) -> int | None:
        """The approximate number of seeds needed to show equivalence if there is no difference.

        None without a margin, if the deviation is unknown or zero, or more than 10,000 are needed.
        """
        if self.margin is None or self.deviation is None:
            return None
        margin = _to_scale(self.margin, self.scale)
        return seeds_for_equivalence(margin, self.deviation, self.family)

    def as_data(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return dict(vars(self)) | {
            "interval": None if self.interval is None else list(self.interval),
            "counts": None if self.counts is None else self.counts.as_data(),
            "within_margin": self.within_margin,
            "direction": self.direction,
            "seeds_to_detect": self.seeds_to_detect,
            "seeds_for_equivalence": self.seeds_for_equivalence,
        }


def differences(
    results: Results,
    of: Sequence[str] | str | None = None,
    others: Others = "all",
    against: Against = "base",
    margin: float | None = None,
) -> tuple[Comparison, ...]:
    """The comparisons of one table, which form one family for Holm's correction.

    Args:
        results: The results to compare.
        of: The settings to compare, all by default.
        others: ``base``: all other settings are at their base values, and runs are paired by seed.
            ``all``: each seed's differences are averaged over the cells of the other settings; the
            estimate is for the average over exactly these cells.
        against: Compare each value with the base value, or every pair of values.
        margin: The largest difference that does not matter (on the ratio scale, a factor above 1).
            It must be stated before the results are seen.

    Raises:
        InputError: A setting is not an axis of the grid, or the margin is invalid.
    """
    check_margin(margin, results)
    keys = [of] if isinstance(of, str) else list(results.levels if of is None else of)
    drafts = []
    log_margin = None if margin is None else _to_scale(margin, results.scale)
    several = sum(len(_pairs(results, results.check_key(key), against)) for key in keys) > 1
    for key in keys:
        values = results.by([key], others)
        failed, reached = (
            None if mask is None else results.by([key], others, mask.astype(np.float64)) > 0
            for mask in (results.failed, results.reached)
        )
        masks = Masks(failed, reached, results.arrivals_by([key], others))
        for reference, value in _pairs(results, key, against):
            places = results.place(key, value), results.place(key, reference)
            found = compare_pair(results, *places, values, masks, log_margin, several)
            drafts.append(_draft(results, key, value, reference, others, margin, found))
    return _judged(drafts)


def _draft(
    results: Results,
    key: str,
    value: Any,
    reference: Any,
    others: Others,
    margin: float | None,
    pair: Pair,
) -> Comparison:
    """A comparison before the correction for its family."""
    numbers = shown(pair.level, results.scale)
    wide = numbers["interval"] is None and pair.level.interval is not None
    why = TOO_WIDE if wide else None
    p, p_equivalence = pair.p, pair.p_equivalence
    # On the scale of differences, a mean of skewed values has no interval that covers.
    if results.unsuited and numbers["interval"] is not None:
        why = "the values are skewed; compare ratios"
        numbers |= {"interval": None, "bound": None}
        p_equivalence = None
    elif numbers["interval"] is None and not wide:
        why = why_none(pair)
    return Comparison(
        key=key,
        value=value,
        reference=reference,
        others=others,
        scale=results.scale,
        seeds=pair.level.seeds,
        cells=pair.cells,
        pairs=pair.pairs,
        missing=pair.missing,
        **numbers,
        deviation=pair.level.deviation,
        p=p,
        p_adjusted=None,
        margin=margin,
        p_equivalence=p_equivalence,
        p_equivalence_adjusted=None,
        verdict="undecided",
        family=0,
        counts=pair.counts,
        estimand=estimand(results, pair),
        paired=pair.paired,
        unseen=pair.unseen,
        least_p=pair.least_p,
        why_none=why,
        horizon=results.horizon if pair.ranks is not None else None,
        order=None if pair.ranks is None else pair.ranks.order,
        ranked=pair.ranks is not None,
        p_level=pair.p_level if pair.ranks is None else pair.level.p,
    )


def check_margin(margin: float | None, results: Results) -> None:
    """Checks that a margin is valid on the scale of the results.

    Raises:
        InputError: It is not.
    """
    if margin is None:
        return
    least = 1.0 if results.scale == "ratio" else 0.0
    if not least < margin < float("inf"):
        raise InputError(
            Problem(
                f"the margin must be above {least:g}",
                "margin",
                given=margin,
                expected="a factor above 1 that is too small to matter, because ratios are compared"
                if results.scale == "ratio"
                else "a difference above 0 that is too small to matter",
            )
        )


def shown(found: Estimate, scale: Scale) -> dict[str, Any]:
    """An estimate's difference, interval and bound; on the ratio scale, as factors.

    A ratio whose interval reaches more than a factor of 1,000 to either side has none: so few seeds
    do not support an estimate.
    """
    numbers = {"difference": found.mean, "interval": found.interval, "bound": found.bound}
    if scale == "difference":
        return numbers
    if found.interval is not None and too_wide(found.interval):
        numbers |= {"interval": None, "bound": None}
    return {name: _factors(value) for name, value in numbers.items()}


def too_wide(logarithms: Interval) -> bool:
    """Whether an interval of a logarithm reaches more than a factor of 1,000 to either side."""
    return bool((logarithms[1] - logarithms[0]) / 2 > np.log(WIDEST))


def _factors(value: float | Interval | None) -> float | Interval | None:
    if isinstance(value, tuple):
        return factor(value[0]), factor(value[1])
    return None if value is None else factor(value)


def factor(log: float) -> float:
    """A factor from its logarithm; infinite on overflow."""
    with np.errstate(over="ignore"):
        return float(np.exp(log))


def _judged(drafts: list[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of a family, with adjusted p-values and verdicts."""
    adjusted = holm([each.p for each in drafts])
    equivalent = holm([each.p_equivalence for each in drafts])
    family = max(1, sum(p is not None for p in adjusted))
    result = []
    for draft, p, p_equivalence in zip(drafts, adjusted, equivalent, strict=True):
        verdict: Verdict = "undecided"
        if p is not None and p <= ALPHA:
            verdict = "differs"
        elif p_equivalence is not None and p_equivalence <= ALPHA:
            rare = draft.unseen is not None and draft.unseen <= RARE and draft.counts is None
            verdict = "equivalent" if rare else "equivalent_among_seen"
        result.append(
            replace(
                draft,
                p_adjusted=p,
                p_equivalence_adjusted=p_equivalence,
                verdict=verdict,
                family=family,
            )
        )
    return tuple(result)


def _pairs(results: Results, key: str, against: Against) -> list[tuple[Any, Any]]:
    """The pairs to compare, as (reference, value)."""
    levels, base = results.levels[key], results.base[key]
    if against == "each":
        return list(itertools.combinations(levels, 2))
    return [(base, level) for level in levels if level != base]


def largest(values: Array, scale: Scale) -> float:
    """The largest absolute value, which determines the rounding error of differences.

    It is at least 1 for logarithms, which are no more accurate than the numbers themselves.
    """
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=1.0 if scale == "ratio" else 0.0))


def _to_scale(value: float, scale: Scale) -> float:
    return float(np.log(value)) if scale == "ratio" else value
