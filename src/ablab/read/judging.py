"""Judges an expectation on measured runs, at a significance level.

What is judged is a frame of measured runs, so that some of an experiment's seeds can be judged as
if there were no others; see ``settling``.
"""

from dataclasses import dataclass, replace

import polars as pl

from ablab.config import InputError
from ablab.experiments.expectations import Expectation
from ablab.experiments.inactive import nullable_keys
from ablab.experiments.measures import VALUES, Measure, parse_measure
from ablab.read import (
    by_outcome,
    comparisons,
    diverged,
    judgements,
    not_reached,
    predicted,
    two_groups,
)
from ablab.read.directions import column_direction
from ablab.read.effects.joint import as_one
from ablab.read.effects.results import Results, gather
from ablab.read.guessing import guessing_loss
from ablab.read.hypothesis_tests import Sample
from ablab.read.judgements import ALPHA, Found, compared_cells, other_cell
from ablab.read.measures import ENDED, is_step, measure_table
from ablab.read.paused import unless_paused
from ablab.read.quantity import Quantity
from ablab.store.index import StoreError
from ablab.store.run_rows import run_settings
from ablab.store.store import ExperimentRecord, Store
from ablab.tasks.config import Direction


def measure(store: Store, record: ExperimentRecord, expectation: Expectation) -> pl.DataFrame:
    """The measured runs of an experiment: see :func:`ablab.read.measures.measure_table`.

    For an expectation about an outcome, with a column that says which runs have it.

    Raises:
        InputError: The measure is invalid, or its column was not logged.
    """
    frame = measure_table(store, record, expectation.measure)
    condition = expectation.lower_if or expectation.higher_if
    if condition is None:
        return frame
    return by_outcome.with_outcomes(store, record, frame, condition)


def judge_frame(
    store: Store,
    record: ExperimentRecord,
    expectation: Expectation,
    frame: pl.DataFrame,
    alpha: float = ALPHA,
) -> Found:
    """What measured runs show of an expectation.

    Args:
        store: The store.
        record: The experiment.
        expectation: The expectation.
        frame: The runs, as :func:`measure` gives them.
        alpha: The significance level.
    """
    subject = _Subject.of(record, parse_measure(expectation.measure))
    try:
        sample = _sample(record, frame, alpha)
        bounded = _with_numbers(store, sample, expectation)
        found = _judge(sample, bounded, subject)
        chosen = [each for each in _samples(sample, bounded) if not isinstance(each, str)]
        found = unless_paused(found, *chosen)
    except StoreError:  # damaged data give no verdict, not even that there is none
        raise
    except InputError as error:
        return Found("undecided", error.problems[0].message)
    if bounded is expectation:
        return found
    told = f"{expectation.range}, that is {bounded.range_words}"
    return replace(found, evidence=found.evidence.replace(bounded.range, told))


def concerned(
    record: ExperimentRecord, expectation: Expectation, frame: pl.DataFrame
) -> pl.DataFrame:
    """The runs that an expectation is about; none if the grid lacks one of its cells."""
    sample = _sample(record, frame, ALPHA)
    found = _samples(sample, expectation)
    key = expectation.falls_with or expectation.rises_with
    frames = []
    for each in found:
        if isinstance(each, str) or (key is not None and key not in each.keys):
            return frame.clear()
        frames.append((each if key is None else each.active(key)).frame)
    return pl.concat(frames).unique("run", maintain_order=True)


def _samples(sample: Sample, expectation: Expectation) -> list[Sample | str]:
    """The runs of each cell that an expectation names; a sentence if there are none."""
    return [sample.where(cell) for cell in compared_cells(expectation)]


def _sample(record: ExperimentRecord, frame: pl.DataFrame, alpha: float) -> Sample:
    grid = record.definition["grid"]
    return Sample(frame, list(grid), nullable_keys(grid), alpha)


def _with_numbers(store: Store, sample: Sample, expectation: Expectation) -> Expectation:
    """The expectation with the numbers that its bounds are for the runs that it is about."""
    if not expectation.levels:
        return expectation
    chosen = sample.where(expectation.where)
    if isinstance(chosen, str):  # there are none, which is what the verdict says
        return expectation
    return expectation.resolved(list(run_settings(store, chosen.frame["run"].to_list()).values()))


@dataclass(frozen=True)
class _Subject:
    """What an expectation is about: a measure, and what is declared of its values.

    Attributes:
        measure: The measure.
        better: Which values are better; None for steps and counts, of which none is the worst.
        guessing: The loss of guessing; None if it is not declared.
        quantity: The range, the unit and the scale of its values.
        is_joint: Whether settings of the grid vary together.
    """

    measure: Measure
    better: Direction | None
    guessing: float | None
    quantity: Quantity
    is_joint: bool

    @classmethod
    def of(cls, record: ExperimentRecord, measure: Measure) -> "_Subject":
        """What is known of a measure of an experiment."""
        better = None
        if measure.function in VALUES:
            better = measure.direction or column_direction(record, measure.column)
        guessing, quantity = guessing_loss(record, measure), Quantity.of(record, measure)
        return cls(measure, better, guessing, quantity, "cells" in record.definition)

    def results(self, whole: Sample) -> Results | None:
        """The results of all runs, as effects see them; None without a grid."""
        if not whole.keys:
            return None
        better = "lower" if is_step(self.measure) else self.better
        frame, keys = whole.frame, whole.keys
        if self.is_joint:  # only the values of whole cells matter here
            frame, keys = as_one(frame, keys, whole.nullable), ["variant"]
        return gather(
            frame,
            keys,
            measure=self.measure.text,
            better=better,
            guessing=self.guessing,
            limits=self.quantity.limits,
        )


@dataclass(frozen=True)
class _Seen:
    """An expectation's subject, with what all runs of the grid say of its values.

    Attributes:
        subject: The subject.
        quantity: What is known of its values; ratios where effects compare ratios.
        pairing: Whether runs are paired by seed, as in effects, because seeds matter.
        results: The results of all runs; None without a grid.
    """

    subject: _Subject
    quantity: Quantity
    pairing: bool
    results: Results | None

    @classmethod
    def of(cls, subject: _Subject, whole: Sample) -> "_Seen":
        """What all runs say."""
        results = subject.results(whole)
        if results is None:
            return cls(subject, subject.quantity, False, None)
        quantity = replace(
            subject.quantity, ratio=results.scale == "ratio", limits=results.declared
        )
        return cls(subject, quantity, results.paired, results)

    def groups(self, *samples: Sample) -> two_groups.Groups | None:
        """The two groups into which the values of some samples fall; None if they do not."""
        better: Direction | None = self.subject.better
        measure = self.subject.measure
        if self.results is None and measure.function not in VALUES:
            return None
        if self.results is None:
            found = two_groups.notice(better, *samples, guessing=self.subject.guessing)
        elif is_step(measure):
            found = two_groups.known(self.results, "lower", *samples, steps=True)
        else:
            found = two_groups.known(self.results, better, *samples)
        return None if found is None else replace(found, ends=measure.is_end)


def _judge(sample: Sample, expectation: Expectation, subject: "_Subject") -> Found:
    needed = _samples(sample, expectation)
    frames = [each.frame for each in needed if not isinstance(each, str)] or [sample.frame]
    statuses = pl.concat(frames).unique("run")["status"].to_list()
    unended = [each for each in statuses if each not in ENDED]
    if unended:
        noun = "run" if len(statuses) == 1 else "runs"
        count = f"{len(unended)} of {len(statuses)} {noun} {'is' if len(unended) == 1 else 'are'}"
        return Found("undecided", f"{count} not finished yet")
    sample = _complete(sample)
    chosen = sample.where(expectation.where)
    if isinstance(chosen, str) or chosen.is_lost:
        why = chosen if isinstance(chosen, str) else "no run has a value: " + chosen.why()
        return Found("undecided", why)
    if expectation.predicts is not None:
        return predicted.judge(
            chosen, expectation, subject.better, subject.guessing, subject.quantity
        )
    if expectation.relation in ("lower_than", "higher_than", "same_as"):
        other = sample.where(expectation.where | dict(other_cell(expectation)))
        if isinstance(other, str) or other.is_lost:
            why = other if isinstance(other, str) else f"nothing to compare with: {other.why()}"
            return Found("undecided", why)
        return _compare(chosen, other, expectation, _Seen.of(subject, sample))
    if expectation.relation in ("lower_if", "higher_if"):
        found = by_outcome.compare(chosen, expectation)
        found = diverged.with_outcome(found, chosen, expectation, subject.better)
    else:
        found = _alone(chosen, expectation, _Seen.of(subject, sample))
    return found


def _complete(sample: Sample) -> Sample:
    """The variants of which all runs have ended: those of others say nothing yet."""
    ended = pl.col("status").is_in(ENDED)
    if not sample.keys or sample.frame.select(ended.all()).item():
        return sample
    frame = sample.frame.filter(ended.all().over(sample.keys))
    return Sample(frame, sample.keys, sample.nullable, sample.alpha)


def _compare(sample: Sample, other: Sample, expectation: Expectation, seen: _Seen) -> Found:
    subject = seen.subject
    if sample.unreached or other.unreached:
        return not_reached.compare(sample, other, expectation, subject.measure, seen.pairing)
    groups = seen.groups(sample, other)
    if groups is not None:
        found = two_groups.compare(sample, other, expectation, groups, seen.pairing)
    else:
        found = comparisons.compare(sample, other, expectation, seen.quantity, seen.pairing)
    if found.outcome == "held" and expectation.same_as is not None:
        found = not_reached.of_those_that_did(found, sample, other, subject.measure)
    return diverged.compared(found, sample, other, expectation, subject.better)


def _alone(sample: Sample, expectation: Expectation, seen: _Seen) -> Found:
    """A relation within one sample: an order of its cells, or a range."""
    subject = seen.subject
    orders = expectation.relation in ("falls_with", "rises_with")
    pair = _order_of_two(sample, expectation, seen) if orders else None
    if pair is not None:
        return pair
    if sample.unreached:
        if orders:
            return not_reached.order(sample, expectation, subject.measure, seen.pairing)
        return not_reached.within(sample, expectation, subject.measure)
    groups, found = seen.groups(sample), None
    if groups is not None and orders:
        found = two_groups.order(sample, expectation, groups, seen.pairing)
    elif groups is not None:
        found = two_groups.within(sample, expectation, groups)
    if found is None:
        judged = judgements.order if orders else judgements.within
        found = judged(sample, expectation, seen.quantity)
    return diverged.alone(found, sample, expectation, subject.better)


def _order_of_two(sample: Sample, expectation: Expectation, seen: _Seen) -> Found | None:
    """An order of two values, which is a comparison of the second with the first; else None."""
    key = expectation.falls_with or expectation.rises_with
    assert key is not None, "given by the relation"
    labels = sample.levels(key)
    if isinstance(labels, str) or len(labels) != 2 or expectation.factor is not None:
        return None
    before, after = (sample.at(key, label) for label in labels)
    if before.is_lost or after.is_lost:
        return None
    relation = "lower_than" if expectation.falls_with else "higher_than"
    same = {"falls_with": None, "rises_with": None, relation: {key: labels[0]}}
    found = _compare(after, before, expectation.model_copy(update=same), seen)
    return replace(found, evidence=f"at {labels[1]} vs {labels[0]}: {found.evidence}")
