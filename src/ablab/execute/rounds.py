"""Training in rounds, where what is trained next depends on what was found.

What is found is read by rooms below this one, so the reader is an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ablab.execute.options import Options
from ablab.execute.orchestrate import TrainedExperiment, orchestrate
from ablab.execute.progress import Reporter
from ablab.experiments.experiment import Experiment
from ablab.experiments.seeds import most_seeds
from ablab.store.run_rows import seeds_of_variants
from ablab.store.store import ExperimentRecord, Store


@dataclass(frozen=True)
class Round:
    """What to train next.

    Attributes:
        seeds: The number of seeds of the variants that need more, by their place in the grid.
        why: What was found, as a line.
    """

    seeds: dict[int, int]
    why: str


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

    Rounds need no record of their own: what to train next follows from what is stored.

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
