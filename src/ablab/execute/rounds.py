"""Training in rounds, where what is trained next depends on what was found.

What is found is read by rooms below this one, so the reader is an argument.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ablab.execute.options import Options
from ablab.execute.orchestrate import TrainedExperiment
from ablab.execute.progress import Reporter
from ablab.experiments.experiment import Experiment
from ablab.experiments.halving import halving_of
from ablab.experiments.seeds import most_seeds
from ablab.store.known_runs import as_stored
from ablab.store.run_rows import seeds_of_variants
from ablab.store.rungs import (
    RungDecision,
    decide_rung,
    due_rung,
    pause_again,
    rung_decisions,
)
from ablab.store.store import ExperimentRecord, Store


@dataclass(frozen=True)
class Round:
    """What to train next.

    Attributes:
        seeds: The number of seeds of the variants that need more, by their place in the grid.
        why: What was found, as a line.
        decisions: With halving, what becomes of the variants after the rung that was trained to.
    """

    seeds: dict[int, int]
    why: str
    decisions: Sequence[RungDecision] = ()


Next = Callable[[Store, ExperimentRecord], Round]
"""Reads an experiment after a round, and says what to train next; nothing if it is settled."""


Part = tuple[Experiment, Store | str | Path, Options]
"""What is trained next, where, and how."""

Parts = Generator[Part, TrainedExperiment, TrainedExperiment]
"""What is trained, one part after another: each is sent what became of the one before, and the last
is returned."""


class Rounds(Iterator[Part]):
    """The parts of a training, of which each depends on what became of those before.

    The caller trains each part and keeps it as ``done``, which is the result after the last one.
    A function that did so would be one more between a command and what trains.

    Args:
        parts: The parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.done: TrainedExperiment | None = None

    def __next__(self) -> Part:
        try:
            return next(self._parts) if self.done is None else self._parts.send(self.done)
        except StopIteration as end:
            self.done = end.value
            raise StopIteration from None

    @property
    def result(self) -> TrainedExperiment:
        """What was trained."""
        assert self.done is not None, "each training has a part"
        return self.done


def in_rounds(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    reporter: Reporter,
    following: Next,
) -> Parts:
    """The parts of a training: with halving, rung after rung; with added seeds, round after round.

    Otherwise it is one part. Rounds need no record of their own: what to train next follows from
    what is stored.

    Args:
        asked: The experiment.
        store: A store or its folder.
        options: How to run it.
        reporter: Shows progress.
        following: Reads the experiment after a round.
    """
    if halving_of(asked.definition) is not None:
        return (yield from _by_rungs(asked, store, options, reporter, following))
    if asked.settling is not None:
        return (yield from _adding_seeds(asked, store, options, reporter, following))
    return (yield asked, store, options)


def _adding_seeds(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    reporter: Reporter,
    following: Next,
) -> Parts:
    """Adds seeds, round after round, until the questions are settled."""
    trained = 0
    asked = _as_stored(asked, store)
    while True:
        done = yield asked, store, options
        store, trained = done.store, trained + done.trained
        done = replace(done, trained=trained)
        if not done.complete:
            return done
        options = replace(options, retry=False, break_leases=False)
        found = following(done.store, done.record)
        reporter.message(found.why)
        if not found.seeds:
            return done
        asked = asked.with_seeds(found.seeds)


def _by_rungs(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    reporter: Reporter,
    following: Next,
) -> Parts:
    """Trains to one rung after another, pauses the variants that are cut, and trains the others."""
    asked.resolve()
    halving = halving_of(asked.definition)
    assert halving is not None, "checked by the caller"
    rungs = halving.steps(min(variant.parts.train.steps for variant in asked.variants))
    trained = 0
    while True:
        rung = _due(asked, store, rungs, options.retry)
        done = yield asked, store, replace(options, until=rung)
        store = done.store
        trained = max(trained, done.trained)  # no rung has more runs left than the one before
        done = replace(done, trained=trained)
        if not done.complete or rung is None:
            return done
        options = replace(options, retry=False, break_leases=False)
        if any(each.rung == rung for each in rung_decisions(done.store, done.record.id)):
            pause_again(done.store, done.record)  # a repair had set some of its runs back
            continue
        found = following(done.store, done.record)
        decide_rung(done.store, done.record, found.decisions)
        reporter.message(found.why)


def _due(
    asked: Experiment, store: Store | str | Path, rungs: Sequence[int], retry: bool
) -> int | None:
    """The first rung of which something is left to train or to decide; None if there is none."""
    if isinstance(store, Store):
        return due_rung(store, as_stored(asked, store).digest, rungs, retry)
    if not (Path(store) / "index.sqlite").is_file():
        return min(rungs, default=None)
    opened = Store(store)
    try:
        return due_rung(opened, as_stored(asked, opened).digest, rungs, retry)
    finally:
        opened.close()


def _as_stored(asked: Experiment, store: Store | str | Path) -> Experiment:
    """The experiment with the seeds that it has in a store, so that a round that began goes on."""
    path = store.path if isinstance(store, Store) else Path(store)
    if not (path / "index.sqlite").is_file():
        return asked
    opened = store if isinstance(store, Store) else Store(path)
    try:
        return asked.with_seeds(
            seeds_of_variants(opened, asked.digest, most_seeds(asked.definition))
        )
    finally:
        if opened is not store:
            opened.close()
