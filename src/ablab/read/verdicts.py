"""Verdicts on expectations: held, failed or undecided, with evidence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl

from ablab.config import InputError
from ablab.experiments.expectations import Expectation
from ablab.experiments.measures import parse_measure
from ablab.read.effects.inference import equivalence
from ablab.read.hypothesis_tests import (
    Floats,
    Sample,
    difference,
    factor,
    interval_text,
    mean_interval,
    trend,
)
from ablab.read.measured import shown
from ablab.read.measures import is_step, measure_table
from ablab.store.expected import Stamped, stamped
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store

Outcome = Literal["held", "failed", "undecided"]
_ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """The verdict on an expectation.

    Attributes:
        claim: The claim in its author's words.
        sentence: The expectation as it is tested.
        outcome: ``held``, ``failed`` or ``undecided``.
        evidence: The numbers behind the outcome, in a sentence.
        value: The tested number: a difference, a slope per value of the setting, or a mean.
        interval: The 95% confidence interval of ``value``; None with too few seeds.
        confidence: The confidence stated by its author; None if not stated.
        written: When it was written: UTC, ISO 8601.
        late: Whether results already existed when it was written.
        seen: The number of runs that had results when it was written.
        figure: The number that its source reports, as text; None if there is none.
        source: The source of the claim; None if not stated.
    """

    claim: str
    sentence: str
    outcome: Outcome
    evidence: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    written: str | None = None
    late: bool = False
    seen: int = 0
    figure: str | None = None
    source: str | None = None

    @property
    def said(self) -> str:
        """The number that its source reports, and the source; empty if neither is known."""
        if self.source is None:
            return self.figure or ""
        return f"{self.figure} ({self.source})" if self.figure else self.source

    def as_data(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _Found:
    outcome: Outcome
    evidence: str
    value: float | None = None
    interval: tuple[float, float] | None = None


def verdicts(store: Store, record: ExperimentRecord) -> list[Verdict]:
    """The verdict on each expectation of an experiment, in the order of writing."""
    return [judge(store, record, each) for each in stamped(store, record)]


def judge(store: Store, record: ExperimentRecord, stamp: Stamped) -> Verdict:
    """The verdict on one expectation."""
    expectation = stamp.expectation
    try:
        frame = measure_table(store, record, expectation.measure)
        found = _judge(frame, list(record.definition["grid"]), expectation)
    except StoreError:  # damaged data give no verdict, not even that there is none
        raise
    except InputError as error:
        found = _Found("undecided", error.problems[0].message)
    return Verdict(
        expectation.text,
        expectation.sentence,
        found.outcome,
        found.evidence,
        found.value,
        found.interval,
        expectation.confidence,
        stamp.written,
        stamp.late,
        stamp.seen,
        expectation.figure,
        expectation.source,
    )


def _judge(frame: pl.DataFrame, keys: list[str], expectation: Expectation) -> _Found:
    unended = [reason for reason in frame["reason"].to_list() if _is_unended(reason)]
    if unended:
        noun = "run" if frame.height == 1 else "runs"
        count = f"{len(unended)} of {frame.height} {noun} {'is' if len(unended) == 1 else 'are'}"
        return _Found("undecided", f"{count} not finished yet")
    steps = is_step(parse_measure(expectation.measure))
    if steps:  # a step that was not reached is at least the run's last step
        frame = frame.with_columns(pl.col("value").fill_null(pl.col("not_before")))
    sample = Sample(frame, keys)
    chosen = sample.where(expectation.where)
    if isinstance(chosen, str) or chosen.known.is_empty():
        why = chosen if isinstance(chosen, str) else "no run has a value: " + chosen.why()
        return _Found("undecided", why)
    match expectation.relation:
        case "falls_with" | "rises_with":
            return _order(chosen, expectation)
        case "lower_than" | "higher_than" | "same_as":
            other = sample.where(expectation.where | _other(expectation))
            if isinstance(other, str) or other.known.is_empty():
                why = other if isinstance(other, str) else f"nothing to compare with: {other.why()}"
                return _Found("undecided", why)
            return _compare(chosen, other, expectation)
        case _:
            return _range(chosen, expectation)


def _order(sample: Sample, expectation: Expectation) -> _Found:
    """Whether a measure falls, or rises, from each value of a setting to the next."""
    key = expectation.falls_with or expectation.rises_with
    assert key is not None, "given by the relation"
    sign = -1 if expectation.falls_with else 1
    ordered = sample.by(key)
    if isinstance(ordered, str):
        return _Found("undecided", ordered)
    labels, table = ordered  # (values, seeds)
    means = np.nanmean(table, axis=1)
    path = ", ".join(f"{shown(m)} at {label}" for label, m in zip(labels, means, strict=True))
    if expectation.factor is not None:
        return _by_factor(sample, table, sign, expectation.factor, path)
    tested = trend(table, sign)
    evidence = f"{path}; {tested.text}{sample.gaps()}"
    against = [
        f"{before} to {after}"
        for (before, after), change in zip(pairwise(labels), tested.steps, strict=True)
        if change < 0
    ]
    if against:
        evidence += f"; opposite direction from {', '.join(against)}"
    interval, value = tested.interval, tested.slope
    if tested.reversed or (interval is not None and sign * _near(interval, sign) < 0):
        return _Found("failed", evidence, value, interval)
    if tested.p is not None and tested.p < _ALPHA and not against:
        return _Found("held", evidence, value, interval)
    return _Found("undecided", evidence, value, interval)


def _by_factor(
    sample: Sample, table: Floats, sign: int, wanted: tuple[float, float], path: str
) -> _Found:
    """Whether a measure changes by a factor in a range from each value of a setting to the next."""
    found = factor(table, sign)
    if isinstance(found, str):
        return _Found("undecided", f"{path}; {found}{sample.gaps()}")
    factor_text = f"a factor of {found.mean:.3g} {interval_text(found)} per value"
    evidence = f"{path}; {factor_text}{sample.gaps()}"
    if found.interval is None:
        return _Found("undecided", evidence, found.mean)
    low, high = found.interval
    outcome: Outcome = "undecided"
    if sample.beyond == 0 and wanted[0] <= low and high <= wanted[1]:
        outcome = "held"
    elif (high < wanted[0] and sample.beyond == 0) or low > wanted[1]:
        outcome = "failed"
    return _Found(outcome, evidence, found.mean, found.interval)


def _near(interval: tuple[float, float], sign: int) -> float:
    """The end of an interval that favours a direction most."""
    return interval[1] if sign > 0 else interval[0]


def _compare(sample: Sample, other: Sample, expectation: Expectation) -> _Found:
    """Whether a measure is lower, higher or the same in some cells than in others."""
    paired = difference(sample, other)
    gaps = sample.gaps()
    if paired is None:
        return _Found("undecided", "no seed has a value on both sides" + gaps)
    evidence = (
        f"{shown(sample.mean)} vs {shown(other.mean)}, a difference of "
        f"{shown(paired.mean)} {interval_text(paired)}{gaps}"
    )
    value, interval = paired.mean, paired.interval
    if expectation.relation == "same_as":
        margin = expectation.margin
        assert margin is not None, "checked with the expectation"
        p = equivalence(paired.values, margin, paired.size)
        if p is not None and p < _ALPHA:
            return _Found("held", f"{evidence}; within ±{margin:g}", value, interval)
        apart = interval is not None and (interval[0] > margin or interval[1] < -margin)
        outcome: Outcome = "failed" if apart else "undecided"
        wide = "" if apart else f"; not shown to be within ±{margin:g}"
        return _Found(outcome, evidence + wide, value, interval)
    sign = -1 if expectation.relation == "lower_than" else 1
    if interval is None:
        return _Found("undecided", evidence, value)
    low, high = sorted((sign * interval[0], sign * interval[1]))
    if low > expectation.by:
        return _Found("held", evidence, value, interval)
    return _Found("failed" if high < expectation.by else "undecided", evidence, value, interval)


def _range(sample: Sample, expectation: Expectation) -> _Found:
    """Whether a measure's mean is in a range; with one seed, whether its value is."""
    low, high = expectation.within or (-np.inf, np.inf)
    low = expectation.above if expectation.above is not None else low
    high = expectation.below if expectation.below is not None else high
    found = mean_interval(sample)
    evidence = f"{shown(found.mean)} {interval_text(found)}{sample.gaps()}"
    ends = found.interval
    if ends is None:
        alone = found.values
        evidence += "" if len(alone) > 1 else ", for this seed only"
        ends = (float(alone.min()), float(alone.max()))
    if sample.beyond and high < np.inf:  # some values are larger by an unknown amount
        outcome: Outcome = "failed" if ends[0] > high else "undecided"
        return _Found(outcome, evidence, found.mean, found.interval)
    strict = expectation.within is None
    inside = (low < ends[0] and ends[1] < high) if strict else (low <= ends[0] and ends[1] <= high)
    if inside:
        return _Found("held", evidence, found.mean, found.interval)
    outside = (ends[1] <= low or ends[0] >= high) if strict else (ends[1] < low or ends[0] > high)
    return _Found("failed" if outside else "undecided", evidence, found.mean, found.interval)


def _other(expectation: Expectation) -> dict[str, Any]:
    return expectation.lower_than or expectation.higher_than or expectation.same_as or {}


def _is_unended(reason: str | None) -> bool:
    """Whether a run has no value because it has not ended yet."""
    return reason is not None and reason.startswith(
        ("running", "interrupted", "planned", "not trained yet")
    )


@dataclass(frozen=True)
class Calibration:
    """How often expectations held, compared with the confidence that was stated.

    Attributes:
        stated: The mean stated confidence.
        held: The fraction that held.
        count: The number of decided expectations that state a confidence and were written before
            results.
        brier: The Brier score: the mean squared difference of confidence and outcome. Always
            stating 0.5 gives 0.25.
        groups: For each range of confidence: its lower and upper end, the number of expectations,
            and the fraction that held.
    """

    stated: float
    held: float
    count: int
    brier: float
    groups: tuple[tuple[float, float, int, float], ...]

    def as_data(self) -> dict[str, Any]:
        """The calibration as plain data."""
        return asdict(self)


def calibration(found: Sequence[Verdict]) -> Calibration | None:
    """Compares outcomes with stated confidences; None if no expectation counts.

    Only decided expectations with a confidence, written before results existed, count.
    """
    counted = [
        (each.confidence, each.outcome == "held")
        for each in found
        if each.confidence is not None and each.outcome != "undecided" and not each.late
    ]
    if not counted:
        return None
    stated = np.array([confidence for confidence, _ in counted])
    held = np.array([float(held) for _, held in counted])
    groups = []
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        inside = (stated > low) & (stated <= high)
        if inside.any():
            groups.append((low, high, int(inside.sum()), float(held[inside].mean())))
    brier = float(((stated - held) ** 2).mean())
    return Calibration(float(stated.mean()), float(held.mean()), len(counted), brier, tuple(groups))
