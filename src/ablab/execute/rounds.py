"""Training in rounds, where what is trained next depends on what was found.

What is found is read by rooms below this one, so the reader is an argument.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ablab.execute.options import Options
from ablab.execute.orchestrate import TrainedExperiment, orchestrate
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


def train_in_rounds(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
    following: Next,
    while_training: Callable[[], object] = lambda: None,
) -> TrainedExperiment:
    """Trains an experiment; if it adds seeds, round after round until its questions are settled.

    With halving, rung after rung. Rounds need no record of their own: what to train next follows
    from what is stored.

    Args:
        asked: The experiment.
        store: A store or its folder, which is created if it does not exist.
        options: How to run it.
        command: The command line, for the logbook entry.
        reporter: Shows progress.
        should_pause: Called regularly; training pauses once it returns True.
        following: Reads the experiment after a round.
        while_training: Called once in a thread while other processes train, if they do.

    Raises:
        InputError: As for :func:`ablab.execute.orchestrate.orchestrate`.
    """
    if halving_of(asked.definition) is not None:
        return _train_by_rungs(
            asked, store, options, command, reporter, should_pause, following, while_training
        )
    if asked.settling is None:
        return orchestrate(asked, store, options, command, reporter, should_pause, while_training)
    trained = 0
    asked = _as_stored(asked, store)
    while True:
        done = orchestrate(asked, store, options, command, reporter, should_pause, while_training)
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


def _train_by_rungs(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
    following: Next,
    while_training: Callable[[], object],
) -> TrainedExperiment:
    """Trains to one rung after another, pauses the variants that are cut, and trains the others."""
    asked.resolve()
    halving = halving_of(asked.definition)
    assert halving is not None, "checked by the caller"
    rungs = halving.steps(min(variant.parts.train.steps for variant in asked.variants))
    trained = 0
    while True:
        rung = _due(asked, store, rungs)
        done = orchestrate(
            asked, store, options, command, reporter, should_pause, while_training, rung
        )
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


def _due(asked: Experiment, store: Store | str | Path, rungs: Sequence[int]) -> int | None:
    """The first rung of which something is left to train or to decide; None if there is none."""
    if isinstance(store, Store):
        return due_rung(store, as_stored(asked, store).digest, rungs)
    if not (Path(store) / "index.sqlite").is_file():
        return min(rungs, default=None)
    opened = Store(store)
    try:
        return due_rung(opened, as_stored(asked, opened).digest, rungs)
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
