"""Outcomes of relations between numbers; see ``not_reached`` for steps that were not reached."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ablab.experiments.expectations import Expectation
from ablab.read.effects.inference import estimate
from ablab.read.effects.level import compare_levels
from ablab.read.hypothesis_tests import (
    Floats,
    Paired,
    Sample,
    factor,
    gaps,
    interval_text,
    levels_of,
    mean_interval,
    trend,
)
from ablab.read.measured import shown

Outcome = Literal["held", "failed", "undecided"]
ALPHA = 0.05


@dataclass(frozen=True)
class Found:
    """The outcome of a test.

    Attributes:
        outcome: ``held``, ``failed`` or ``undecided``.
        evidence: The numbers behind it.
        value: The tested number.
        interval: Its 95% confidence interval.
        p: The p-value of the test that decided, or else the lower one of those for and against;
            None if nothing was tested.
        counts: For each cell, how many runs reached the step, and of how many; None for numbers.
    """

    outcome: Outcome
    evidence: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    counts: tuple[tuple[int, int], ...] | None = None


def order(sample: Sample, expectation: Expectation) -> Found:
    """Whether a measure falls, or rises, from each value of a setting to the next."""
    key = expectation.falls_with or expectation.rises_with
    assert key is not None, "given by the relation"
    sign = -1 if expectation.falls_with else 1
    ordered = sample.by(key)
    if isinstance(ordered, str):
        return Found("undecided", ordered)
    labels, table = ordered  # (values, seeds)
    means = np.nanmean(table, axis=1)
    path = ", ".join(f"{shown(m)} at {label}" for label, m in zip(labels, means, strict=True))
    if expectation.factor is not None:
        return _by_factor(sample, table, sign, expectation.factor, path)
    tested = trend(table, sign)
    evidence = f"{path}; {tested.text}{gaps(sample)}"
    against = [
        f"{before} to {after}"
        for (before, after), change in zip(pairwise(labels), tested.steps, strict=True)
        if change < 0
    ]
    if against:
        evidence += f"; opposite direction from {', '.join(against)}"
    interval, value = tested.interval, tested.slope
    outcome: Outcome = "undecided"
    if tested.reversed or (interval is not None and sign * _near(interval, sign) < 0):
        outcome = "failed"
    elif tested.p is not None and tested.p < ALPHA and not against:
        outcome = "held"
    p = {
        "held": tested.p,
        "failed": tested.p_reversed,
        "undecided": _least(tested.p, tested.p_reversed),
    }[outcome]
    return Found(outcome, evidence, value, interval, p)


def _by_factor(
    sample: Sample, table: Floats, sign: int, wanted: tuple[float, float], path: str
) -> Found:
    """Whether a measure changes by a factor in a range from each value of a setting to the next."""
    found = factor(table, sign)
    if isinstance(found, str):
        return Found("undecided", f"{path}; {found}{gaps(sample)}")
    factor_text = f"a factor of {found.mean:.3g} {interval_text(found)} per value"
    evidence = f"{path}; {factor_text}{gaps(sample)}"
    if found.interval is None:
        evidence += of_range("undecided", f"between {wanted[0]:g} and {wanted[1]:g}")
        return Found("undecided", evidence, found.mean)
    low, high = found.interval
    outcome: Outcome = "undecided"
    if wanted[0] <= low and high <= wanted[1]:
        outcome = "held"
    elif high < wanted[0] or low > wanted[1]:
        outcome = "failed"
    evidence += of_range(outcome, f"between {wanted[0]:g} and {wanted[1]:g}")
    logs = replace(found, values=np.log(found.values))
    p = _in_range(logs, *(float(np.log(each)) for each in wanted))
    return Found(outcome, evidence, found.mean, found.interval, p)


def _near(interval: tuple[float, float], sign: int) -> float:
    """The end of an interval that favours a direction most."""
    return interval[1] if sign > 0 else interval[0]


def compare(sample: Sample, other: Sample, expectation: Expectation, pairing: bool) -> Found:
    """Whether a measure is lower, higher or the same in some cells than in others.

    Args:
        sample: The runs of the cells that the expectation is about.
        other: The runs of the cells with which they are compared.
        expectation: The expectation.
        pairing: Whether runs are paired by seed, because seeds matter; else Welch's test is used.
    """
    values = levels_of(sample, other)
    lost = gaps(sample, other)
    size = 0.0 if values is None else float(np.nanmax(np.abs(values)))
    levels = None
    if values is not None:
        levels = compare_levels(values, pairing, size, expectation.margin)
    if values is None or levels is None or levels.estimate.mean is None:
        return Found("undecided", "no seed has a value on both sides" + lost)
    found, value, interval = levels.estimate, levels.estimate.mean, levels.estimate.interval
    evidence = (
        f"{shown(sample.mean)} vs {shown(other.mean)}, a difference of "
        f"{shown(value)} {interval_text(found)}{lost}"
    )

    def p_at(shift: float) -> float | None:
        """The two-sided p-value of a difference other than ``shift``."""
        moved = values - np.array([shift, 0.0])[:, None, None]
        return compare_levels(moved, pairing, max(size, abs(shift))).estimate.p

    if expectation.relation == "same_as":
        margin = expectation.margin
        assert margin is not None, "checked with the expectation"
        p = levels.p_equivalence
        apart = interval is not None and (interval[0] > margin or interval[1] < -margin)
        beyond = p_at(float(np.sign(value)) * margin)
        if p is not None and p < ALPHA:
            evidence += f"; within ±{margin:g}"
            return Found("held", evidence, value, interval, p)
        if apart:
            evidence += f"; not within ±{margin:g}"
            return Found("failed", evidence, value, interval, beyond)
        evidence += f"; not shown to be within ±{margin:g}"
        outside = beyond if abs(value) > margin else None
        return Found("undecided", evidence, value, interval, _least(p, outside))
    sign = -1 if expectation.relation == "lower_than" else 1
    evidence += f"; tested for more than {expectation.by:g}" if expectation.by else ""
    if interval is None:
        return Found("undecided", evidence, value, p=found.p if not expectation.by else None)
    low, high = sorted((sign * interval[0], sign * interval[1]))
    outcome: Outcome = "undecided"
    if low > expectation.by:
        outcome = "held"
    elif high < expectation.by:
        outcome = "failed"
    return Found(outcome, evidence, value, interval, p_at(sign * expectation.by))


def within(sample: Sample, expectation: Expectation) -> Found:
    """Whether a measure's mean is in a range; with one seed, whether its value is."""
    low, high = limits(expectation)
    found = mean_interval(sample)
    evidence = f"{shown(found.mean)} {interval_text(found)}{gaps(sample)}"
    ends = found.interval
    if ends is None:
        alone = found.values
        if len(alone) == 1 and sample.lost.height:  # which seed has a value is chance, too
            return Found("undecided", evidence, found.mean)
        evidence += "" if len(alone) > 1 else ", for this seed only"
        ends = (float(alone.min()), float(alone.max()))
    strict = expectation.within is None
    inside = (low < ends[0] and ends[1] < high) if strict else (low <= ends[0] and ends[1] <= high)
    outside = (ends[1] <= low or ends[0] >= high) if strict else (ends[1] < low or ends[0] > high)
    outcome: Outcome = "held" if inside else "failed" if outside else "undecided"
    p = _in_range(found, low, high) if found.interval is not None else None
    return Found(outcome, evidence + of_range(outcome, expectation.range), found.mean,
                 found.interval, p)  # fmt: skip


def of_range(outcome: Outcome, tested: str) -> str:
    """Whether something is in the range that was tested, as the end of the evidence."""
    words = {"held": "", "failed": "not ", "undecided": "not shown to be "}[outcome]
    return f"; {words}{tested}"


def limits(expectation: Expectation) -> tuple[float, float]:
    """The ends of the range of an expectation, infinite if it has none there."""
    low, high = expectation.within or (-np.inf, np.inf)
    low = expectation.above if expectation.above is not None else low
    high = expectation.below if expectation.below is not None else high
    return low, high


def other_cell(expectation: Expectation) -> Mapping[str, Any]:
    """The settings of the cells that are compared with."""
    return expectation.lower_than or expectation.higher_than or expectation.same_as or {}


def _p(paired: Paired, at: float) -> float | None:
    """The two-sided p-value of a mean other than ``at``."""
    return estimate(paired.values - at, max(paired.size, abs(at))).p


def _in_range(found: Paired, low: float, high: float) -> float | None:
    """The p-value of a mean inside of a range, or outside if it is there; two-sided."""
    mean = float(found.values.mean())
    ends = [each for each in (low, high) if np.isfinite(each)]
    tests = {end: _p(found, end) for end in ends}
    known = [each for each in tests.values() if each is not None]
    if len(known) < len(ends) or not known:
        return None
    if low <= mean <= high:
        return max(known)
    return tests[low] if mean < low else tests[high]


def _least(*tests: float | None) -> float | None:
    return min((each for each in tests if each is not None), default=None)
