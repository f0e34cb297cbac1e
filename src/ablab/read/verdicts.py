"""Verdicts on expectations: held, failed or undecided, with evidence."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ablab.config import InputError
from ablab.experiments.expectations import Expectation
from ablab.experiments.measures import VALUES, Measure, parse_measure
from ablab.read import diverged, judgements, not_reached, predicted, two_groups
from ablab.read.directions import column_direction
from ablab.read.effects.results import gather
from ablab.read.guessing import guessing_loss
from ablab.read.hypothesis_tests import Sample
from ablab.read.judgements import Found, Outcome, other_cell
from ablab.read.measures import ENDED, is_step, measure_table
from ablab.store.expected import Stamped, stamped
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store
from ablab.tasks.config import Direction


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
        p: The p-value of the test that decided, or else the lower one of those for and against;
            None if nothing was tested, as with one seed.
        counts: If the measure is a step that some runs did not reach: for each cell that is
            compared, how many runs reached it, and of how many.
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
    p: float | None = None
    counts: tuple[tuple[int, int], ...] | None = None

    @property
    def said(self) -> str:
        """The number that its source reports, and the source; empty if neither is known."""
        if self.source is None:
            return self.figure or ""
        return f"{self.figure} ({self.source})" if self.figure else self.source

    def as_data(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return asdict(self)


def verdicts(store: Store, record: ExperimentRecord) -> list[Verdict]:
    """The verdict on each expectation of an experiment, in the order of writing."""
    return [judge(store, record, each) for each in stamped(store, record)]


def judge(store: Store, record: ExperimentRecord, stamp: Stamped) -> Verdict:
    """The verdict on one expectation."""
    expectation = stamp.expectation
    measure = parse_measure(expectation.measure)
    try:
        frame = measure_table(store, record, expectation.measure)
        subject = _Subject.of(record, measure)
        found = _judge(frame, list(record.definition["grid"]), expectation, subject)
    except StoreError:  # damaged data give no verdict, not even that there is none
        raise
    except InputError as error:
        found = Found("undecided", error.problems[0].message)
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
        found.p,
        found.counts,
    )


@dataclass(frozen=True)
class _Subject:
    """What an expectation is about: a measure, and what is declared of its values.

    Attributes:
        measure: The measure.
        better: Which values are better; None for steps and counts, of which none is the worst.
        guessing: The loss of guessing; None if it is not declared.
    """

    measure: Measure
    better: Direction | None
    guessing: float | None

    @classmethod
    def of(cls, record: ExperimentRecord, measure: Measure) -> "_Subject":
        """What is known of a measure of an experiment."""
        better = None
        if measure.function in VALUES:
            better = measure.direction or column_direction(record, measure.column)
        return cls(measure, better, guessing_loss(record, measure))

    def pairing(self, whole: Sample) -> bool:
        """Whether runs are paired by seed: as in effects, where seeds matter over the grid."""
        if not whole.keys:
            return False
        better = "lower" if is_step(self.measure) else self.better
        found = gather(whole.frame, whole.keys, better=better, guessing=self.guessing)
        return found.paired

    def groups(self, *samples: Sample) -> two_groups.Groups | None:
        """The two groups into which the values of some samples fall; None if they do not."""
        if self.measure.function not in VALUES:
            return None
        return two_groups.notice(self.better, *samples, guessing=self.guessing)


def _judge(
    frame: pl.DataFrame,
    keys: list[str],
    expectation: Expectation,
    subject: "_Subject",
) -> Found:
    unended = [status for status in frame["status"].to_list() if status not in ENDED]
    if unended:
        noun = "run" if frame.height == 1 else "runs"
        count = f"{len(unended)} of {frame.height} {noun} {'is' if len(unended) == 1 else 'are'}"
        return Found("undecided", f"{count} not finished yet")
    sample = Sample(frame, keys)
    chosen = sample.where(expectation.where)
    if isinstance(chosen, str) or chosen.is_lost:
        why = chosen if isinstance(chosen, str) else "no run has a value: " + chosen.why()
        return Found("undecided", why)
    if expectation.predicts is not None:
        return predicted.judge(chosen, expectation, subject.better, subject.guessing)
    if expectation.relation in ("lower_than", "higher_than", "same_as"):
        other = sample.where(expectation.where | dict(other_cell(expectation)))
        if isinstance(other, str) or other.is_lost:
            why = other if isinstance(other, str) else f"nothing to compare with: {other.why()}"
            return Found("undecided", why)
        return _compare(chosen, other, expectation, subject, subject.pairing(sample))
    return _alone(chosen, expectation, subject, subject.pairing(sample))


def _compare(
    sample: Sample, other: Sample, expectation: Expectation, subject: "_Subject", pairing: bool
) -> Found:
    if sample.unreached or other.unreached:
        return not_reached.compare(sample, other, expectation, subject.measure, pairing)
    groups = subject.groups(sample, other)
    if groups is not None:
        found = two_groups.compare(sample, other, expectation, groups, pairing)
    else:
        found = judgements.compare(sample, other, expectation, pairing)
    if found.outcome == "held" and expectation.same_as is not None:
        found = not_reached.of_those_that_did(found, sample, other, subject.measure)
    return diverged.compared(found, sample, other, expectation, subject.better)


def _alone(sample: Sample, expectation: Expectation, subject: "_Subject", pairing: bool) -> Found:
    """A relation within one sample: an order of its cells, or a range."""
    orders = expectation.relation in ("falls_with", "rises_with")
    if sample.unreached:
        if orders:
            return not_reached.order(sample, expectation, subject.measure, pairing)
        return not_reached.within(sample, expectation, subject.measure)
    groups = subject.groups(sample)
    found = None
    if groups is not None and orders:
        found = two_groups.order(sample, expectation, groups, pairing)
    elif groups is not None:
        found = two_groups.within(sample, expectation, groups)
    if found is None:
        found = (judgements.order if orders else judgements.within)(sample, expectation)
    return diverged.alone(found, sample, expectation, subject.better)
