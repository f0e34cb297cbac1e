"""Successive halving: which variants go on after a rung, and why.

Variants are ranked by the median over their seeds of a measure, up to the step of the rung. Before
one is paused, the curve reader looks at its training losses: a variant of which at least half of
the runs are on a plateau that other runs have left is late, not worse, and goes on.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from ablab.config import counted
from ablab.experiments.halving import Halving, halving_of
from ablab.experiments.identity import digest
from ablab.experiments.measures import parse_measure
from ablab.experiments.seeds import most_seeds
from ablab.read.curves import Reading
from ablab.read.curves.numbers import number
from ablab.read.curves.reading import from_data
from ablab.read.directions import column_direction
from ablab.read.measure_words import measure_words
from ablab.read.measured import Measured, shown
from ablab.read.measures import ENDED, measure_runs
from ablab.read.readings import by_meaning, read_cached, read_frame
from ablab.store.metrics import experiment_runs, read_runs
from ablab.store.run_rows import run_settings, runs_of_task
from ablab.store.rungs import Outcome, RungDecision, rung_decisions
from ablab.store.store import ExperimentRecord, RunRecord, Store

_LOSS = "train_loss"  # in which plateaus are looked for: it is known at every step
_AT = 0.03  # relative tolerance within which two levels are the same
_ELSEWHERE = 200  # runs of other experiments that are looked at, the latest


@dataclass(frozen=True)
class _Left:
    """Where runs left a level: the last step at it, by run id; ``elsewhere`` are other runs'."""

    steps: Mapping[str, int]
    elsewhere: frozenset[str]

    def words(self) -> str:
        """How many runs left it, and when the last one did."""
        theirs = len(self.elsewhere & self.steps.keys())
        of = f", {theirs} of them of other experiments" if theirs else ""
        return (
            f"{counted(len(self.steps), 'other run')} left{of}, the latest at step "
            f"{max(self.steps.values()):,}"
        )


def judge_rung(store: Store, record: ExperimentRecord) -> list[RungDecision]:
    """What becomes of the variants after the first rung that is not decided; writes nothing.

    Empty if all rungs are decided.

    Args:
        store: The store.
        record: The experiment, of which every run that is not paused has reached the rung or has
            ended before.

    Raises:
        InputError: The measure's column was not logged.
    """
    halving = halving_of(record.definition)
    assert halving is not None, "checked by the caller"
    runs = experiment_runs(store, record)
    decided = rung_decisions(store, record.id)
    done, gone = {e.rung for e in decided}, {e.variant for e in decided if e.outcome == "paused"}
    rungs = halving.steps(min(run.steps for run in runs))
    rung = next((step for step in rungs if step not in done), None)
    if rung is None:
        return []
    every = by_variant(store, record, runs)
    at_rung = _AtRung(store, record, halving, rung, runs)
    found: list[RungDecision] = []
    for group in halving.groups([every[place][0].variant for place in sorted(every)]):
        race = {place: every[place] for place in group if place not in gone}
        found += _Judge(at_rung, race).decide()
    return sorted(found, key=lambda each: each.variant)


def by_variant(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> dict[int, list[RunRecord]]:
    """The runs of each variant, by its place in the grid."""
    most = most_seeds(record.definition)
    places = {row["run"]: row["position"] // most for row in store.members(record.id)}
    found: dict[int, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(places[run.run], []).append(run)
    return found


@dataclass(frozen=True)
class _AtRung:
    """The runs of an experiment as they were at a rung.

    Attributes:
        store: The store.
        record: The experiment.
        halving: Its halving.
        rung: The step of the rung.
        runs: All runs of the experiment.
    """

    store: Store
    record: ExperimentRecord
    halving: Halving
    rung: int
    runs: Sequence[RunRecord]

    @cached_property
    def measured(self) -> Mapping[str, Measured]:
        """The measure of each run up to the rung, by run id."""
        here, measure = [self.run(run) for run in self.runs], parse_measure(self.halving.measure)
        return measure_runs(self.store, self.record, here, measure)

    def run(self, run: RunRecord) -> RunRecord:
        """A run as it was at the rung."""
        broken = run.status in ("diverged", "failed") and run.step <= self.rung
        status = run.status if broken else "finished"
        return replace(run, step=min(run.step, self.rung), status=status)

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """The readings of the training loss of all runs of the experiment, up to the rung."""
        found: dict[str, Reading] = {}
        here = [self.run(run) for run in self.runs]
        for levels, direction, some in by_meaning(self.store, self.record, here, _LOSS):

            def read(left: list[str], levels=levels, direction=direction) -> dict[str, Reading]:  # type: ignore[no-untyped-def]
                frame = read_runs(self.store, left, lambda names: [n for n in names if n == _LOSS])
                frame = frame.filter(pl.col("step") <= self.rung)
                return read_frame(frame, _LOSS, levels, direction)

            read_with = digest([levels, direction])
            found |= read_cached(self.store, some, _LOSS, read_with, read, from_data)
        return found

    @cached_property
    def elsewhere(self) -> dict[str, Reading]:
        """The readings of stored runs of other experiments with one of the tasks."""
        own = [run.run for run in self.runs]
        tasks = {
            digest(each["task"]): each["task"] for each in run_settings(self.store, own).values()
        }
        ids = [
            run
            for task in tasks.values()
            for run in runs_of_task(self.store, task, own, _ELSEWHERE)
        ]
        if not ids:
            return {}
        direction = column_direction(self.record, _LOSS)

        def read(left: list[str]) -> dict[str, Reading]:
            frame = read_runs(self.store, left, lambda names: [n for n in names if n == _LOSS])
            return read_frame(frame, _LOSS, self.record.levels, direction)

        read_with = digest([self.record.levels, direction])
        records = self.store.run_records(ids)
        return read_cached(self.store, records, _LOSS, read_with, read, from_data)


@dataclass(frozen=True)
class _Judge:
    """Judges variants that are compared with each other at a rung.

    Attributes:
        at_rung: The experiment at the rung.
        race: The runs of the variants that are not paused yet, by the variant's place.
    """

    at_rung: _AtRung
    race: Mapping[int, list[RunRecord]]

    @property
    def halving(self) -> Halving:
        """The halving of the experiment."""
        return self.at_rung.halving

    def decide(self) -> list[RungDecision]:
        """The decisions, in the order of the grid."""
        values = self._values()
        judged = sorted(values, key=lambda place: (self._score(place, values[place]), place))
        finite = [place for place in judged if values[place] not in (None, _WORST)]
        count = self.halving.going_on(len(judged)) if judged else 0
        last = finite[min(count, len(finite)) - 1] if finite else None
        threshold = None if last is None else values[last]
        limit = None if last is None else self._score(last, threshold)
        worse = [
            place
            for place in judged
            if limit is not None and self._score(place, values[place]) > limit
        ]
        late = self._late([place for place in worse if self._has_left(place)])
        found = []
        for place in self.race:
            value = values.get(place)
            known = None if value in (None, _WORST) else value
            outcome, why = self._outcome(place, value, place in worse, late.get(place))
            if outcome == "paused":
                why = f"{self._worse(value, threshold, count, len(judged))}; {why}"
            elif outcome == "goes on":
                why = f"one of the {count} of {counted(len(judged), 'variant')} that go on"
            found.append(RungDecision(self.at_rung.rung, place, outcome, known, threshold, why))
        return found

    def _outcome(
        self, place: int, value: float | None, worse: bool, late: tuple[bool, str] | None
    ) -> tuple[Outcome, str]:
        """What becomes of a variant, and why."""
        if value is None:
            return "not judged", f"no run has a value of {self.halving.measure}"
        if not worse:
            return "goes on", ""
        if late is None:
            return "ended", "none of its runs has steps left"
        return ("late" if late[0] else "paused"), late[1]

    def _worse(self, value: float | None, threshold: float | None, count: int, of: int) -> str:
        words = f"the {measure_words(self.halving.measure)}"
        if value == _WORST:
            return "half of its runs or more diverged"
        assert value is not None and threshold is not None, "a variant that is cut has a value"
        how = "above" if self._sign > 0 else "below"
        return (
            f"{words} {shown(value)} is {how} {shown(threshold)}, that of the last of the {count} "
            f"of {counted(of, 'variant')} that go on"
        )

    @property
    def _sign(self) -> int:
        measure = parse_measure(self.halving.measure)
        better = measure.direction or column_direction(self.at_rung.record, measure.column)
        return -1 if better == "higher" else 1

    def _score(self, place: int, value: float | None) -> float:
        """A number that is lower for better values."""
        if value == _WORST:
            return _WORST
        assert value is not None, "variants without a value are not judged"
        return self._sign * value

    def _values(self) -> dict[int, float]:
        """The median of each variant, by its place; ``_WORST`` if half of its runs are so bad.

        That is, they diverged, or their value is not finite.

        A run that failed is left out, as that does not tell what the variant is worth.
        """
        measured = self.at_rung.measured
        found = {}
        for place, some in self.race.items():
            values = []
            for run in map(self.at_rung.run, some):
                if run.status == "failed":
                    continue
                own = measured[run.run]
                if run.status == "diverged" or own.broken:
                    values.append(_WORST)
                elif own.value is not None:
                    values.append(self._sign * own.value)
            if values:
                median = statistics.median(values)
                found[place] = _WORST if median == _WORST else self._sign * median
        return found

    def _has_left(self, place: int) -> bool:
        """Whether a run of the variant has steps left."""
        return any(run.status not in ENDED for run in self.race[place])

    def _late(self, places: Sequence[int]) -> dict[int, tuple[bool, str]]:
        """Whether variants are on plateaus that others left, with the reason, by place."""
        if not places:
            return {}
        readings = self.at_rung.readings
        elsewhere: dict[str, Reading] | None = None
        found = {}
        for place in places:
            living = [run for run in self.race[place] if run.status not in ("diverged", "failed")]
            on = {run.run: level for run in living
                  if (level := _level(readings.get(run.run))) is not None}  # fmt: skip
            if on and elsewhere is None:
                elsewhere = self.at_rung.elsewhere
            found[place] = _late_words(living, on, readings, elsewhere or {})
        return found


_WORST = float("inf")


def _level(reading: Reading | None) -> float | None:
    """The level of a curve that is on a plateau at its end; None if it is on none."""
    floor = None if reading is None else reading.floor
    return None if floor is None or floor.level <= 0 else floor.level


def _late_words(
    living: Sequence[RunRecord],
    on: Mapping[str, float],
    readings: Mapping[str, Reading],
    elsewhere: Mapping[str, Reading],
) -> tuple[bool, str]:
    """Whether at least half of the runs are on a plateau that others left, and the reason.

    Args:
        living: The runs of a variant that have not diverged or failed.
        on: The level of those that are on a plateau, by run id.
        readings: The readings of the experiment's runs.
        elsewhere: Those of runs of other experiments.
    """
    left = {run: _leavers(level, run, readings, elsewhere) for run, level in on.items()}
    behind = {run: found for run, found in left.items() if found.steps}
    if behind and 2 * len(behind) >= len(living):
        level = statistics.median(on[run] for run in behind)
        names = {readings[run].floor.name for run in behind if readings[run].floor is not None}  # type: ignore[union-attr]
        (name,) = names if len(names) == 1 else (None,)
        where = number(level) if name is None else f"{name} ({number(level)})"
        steps = {run: step for found in behind.values() for run, step in found.steps.items()}
        others = _Left(steps, frozenset(elsewhere)).words()
        of = f"{len(behind)} of {counted(len(living), 'run')}"
        return (
            True,
            f"{of} {'is' if len(behind) == 1 else 'are'} on the plateau at {where} that {others}",
        )
    if not on:
        return False, "its runs are on no plateau"
    return False, f"{len(behind)} of {counted(len(living), 'run')} on a plateau that others left"


def _leavers(
    level: float,
    run: str,
    readings: Mapping[str, Reading],
    elsewhere: Mapping[str, Reading],
) -> _Left:
    """The other runs that were on a plateau at a level and left it."""
    steps: dict[str, int] = {}
    for other, reading in [*readings.items(), *elsewhere.items()]:
        last = [each.last for each in reading.plateaus if abs(each.level / level - 1) <= _AT]
        if other != run and last:
            steps[other] = max(last)
    return _Left(steps, frozenset(elsewhere))
