"""Training of an experiment whose variants are tuned first.

The trials are an experiment of their own in the same store. What is tried next, and what is best,
follows from the trials that are stored, so a command that was killed goes on where it was.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ablab.config.wording import counted
from ablab.execute.cells import check_cells
from ablab.execute.executor import planning_device, with_capacity
from ablab.execute.options import Options
from ablab.execute.orchestrate import TrainedExperiment, orchestrate
from ablab.execute.progress import Reporter
from ablab.execute.rounds import Next, Part, Parts, Rounds, in_rounds
from ablab.experiments.experiment import Experiment
from ablab.experiments.search import Settings, check_search, next_trials
from ablab.experiments.trials import (
    Trials,
    asked_tuning,
    best_trial,
    check_measure,
    score,
    trial_experiment,
    tuned_experiment,
)
from ablab.experiments.tuned_cells import is_to_tune
from ablab.store.known_runs import as_stored
from ablab.store.store import ExperimentRecord, Store
from ablab.tasks.config import Direction

Values = Callable[[Store, ExperimentRecord, str], Mapping[str, float | None]]
"""Reads a measure of each run of an experiment, by run id; None if a run has no value."""


@dataclass(frozen=True)
class Readers:
    """What reads results between rounds, which rooms below this one do.

    Attributes:
        following: What an experiment that adds seeds trains next.
        values: The values by which trials are judged.
    """

    following: Next
    values: Values


def rounds_of(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    reporter: Reporter,
    readers: Readers,
) -> Rounds:
    """What is trained for an experiment, one part after another.

    If its variants are to be tuned, trials come first; if it adds seeds, further rounds come last.

    Args:
        asked: The experiment.
        store: A store or its folder, which is created if it does not exist.
        options: How to run it.
        reporter: Shows progress.
        readers: What reads results between rounds.

    Raises:
        InputError: Cells are chosen, and rounds choose what is trained, or no variant is in one.
    """
    check_cells(asked, options)
    return Rounds(_parts(asked, store, options, reporter, readers))


def train_experiment(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
    readers: Readers,
) -> TrainedExperiment:
    """Trains an experiment: tunes its variants first if it asks for that, and adds seeds likewise.

    Args:
        asked: The experiment.
        store: A store or its folder, which is created if it does not exist.
        options: How to run it.
        command: The command line, for the logbook entry.
        reporter: Shows progress.
        should_pause: Called regularly; training pauses once it returns True.
        readers: What reads results between rounds.

    Returns:
        What was trained; the experiment of the trials if they were paused.

    Raises:
        InputError: As for :func:`ablab.execute.orchestrate.orchestrate`; or nothing says which
            values of the measure are better, or a search needs a package that is not installed.
    """
    rounds = rounds_of(asked, store, options, reporter, readers)
    for part, where, how in rounds:
        rounds.done = orchestrate(part, where, how, command, reporter, should_pause)
    return rounds.result


def _parts(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    reporter: Reporter,
    readers: Readers,
) -> Parts:
    """The trials, if variants are to be tuned, and then the experiment."""
    trained = 0
    if is_to_tune(asked.definition):
        done, tuned = yield from _tuning(asked, store, options, reporter, readers)
        if tuned is None:
            return done
        asked, store, trained = tuned, done.store, done.trained
        options = replace(options, break_leases=False)
    done = yield from in_rounds(asked, store, options, reporter, readers.following)
    return replace(done, trained=done.trained + trained)


def _tuning(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    reporter: Reporter,
    readers: Readers,
) -> Generator[Part, TrainedExperiment, tuple[TrainedExperiment, Experiment | None]]:
    """Finds the best settings of each variant.

    Returns:
        The trials, and the experiment with the settings; None if training was paused.
    """
    tuning, directions = asked_tuning(asked), check_measure(asked)
    check_search(tuning)
    retried: set[str] | None = None
    if options.retry:
        planning_device(options)
        with_capacity(options)  # what is wrong is said before anything is written
        retried = set()
    options = replace(options, retry=False)
    trials: list[list[Settings]] = [[] for _ in asked.variants]
    scores: list[list[float]] = [[] for _ in asked.variants]
    trained = 0
    while True:
        for place, variant in enumerate(asked.variants):
            tried = list(zip(trials[place], scores[place], strict=True))
            trials[place] += next_trials(tuning, asked.name, variant.label, tried)
        count = len(trials[0])
        of = f"{count} of {tuning.trials}" if count < tuning.trials else f"{count}"
        reporter.message(
            f"tuning: {of} trials of {counted(len(trials), 'variant')}, "
            f"{counted(tuning.seeds, 'seed')}"
        )
        made = trial_experiment(asked, trials)
        if retried is not None:
            _retry_failed(made.experiment, store, retried)
        done = yield from in_rounds(made.experiment, store, options, reporter, readers.following)
        trained += done.trained
        done = replace(done, trained=trained)
        if not done.complete:
            return done, None
        store, options = done.store, replace(options, break_leases=False)
        found = readers.values(done.store, done.record, tuning.measure)
        scores = _scores(replace(made, experiment=done.experiment), found, directions)
        if count == tuning.trials:
            labels = [variant.label for variant in asked.variants]
            every = zip(labels, trials, scores, strict=True)
            best = [_best(*each, reporter) for each in every]
            return done, tuned_experiment(asked, done.experiment.digest, best)


def _best(
    label: str, trials: Sequence[Settings], scores: Sequence[float], reporter: Reporter
) -> Settings:
    """The best settings of a variant; none if no trial has a value."""
    place = best_trial(scores)
    if place is None:
        reporter.warn(f"{label}: no trial has a value; it is trained with the settings as given")
        return {}
    return trials[place]


def _scores(
    trials: Trials, found: Mapping[str, float | None], directions: Sequence[Direction]
) -> list[list[float]]:
    """The score of each trial of each variant; lower ones are better."""
    variants = trials.experiment.variants
    return [
        [score([_lower(found[run.id], better) for run in variants[place].runs]) for place in own]
        for own, better in zip(trials.places, directions, strict=True)
    ]


def _lower(value: float | None, better: Direction) -> float:
    """A value such that lower ones are better; infinite if there is none."""
    if value is None:
        return math.inf
    return value if better == "lower" else -value


def _retry_failed(trials: Experiment, store: Store | str | Path, before: set[str]) -> None:
    """Marks failed trials to be trained again; those that diverged would diverge again.

    Args:
        trials: The experiment of the trials so far.
        store: The store, which need not exist.
        before: The runs that were marked before, which is changed: a run is marked once.
    """
    path = store.path if isinstance(store, Store) else Path(store)
    if not (path / "index.sqlite").is_file():
        return
    opened = store if isinstance(store, Store) else Store(path)
    try:
        own = {run.id for run in as_stored(trials, opened).runs} - before
        failed = [run for run in opened.run_records(sorted(opened.known(own)))
                  if run.status == "failed"]  # fmt: skip
        opened.retry(run.run for run in failed)
        before |= {run.run for run in failed}
    finally:
        if opened is not store:
            opened.close()
