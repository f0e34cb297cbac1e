"""Runs an experiment: checks it, registers it, plans, trains, applies stop rules, samples texts."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablab.config.progress import doing
from ablab.config.source_digest import check_sources
from ablab.config.wording import counted
from ablab.execute.ahead.compilers import compilers
from ablab.execute.cells import chosen_runs
from ablab.execute.cost import StepCost, count_cost
from ablab.execute.early_stops import foreseen_stops
from ablab.execute.environment import environment
from ablab.execute.executor import (
    find_executor,
    make_executor,
    planning_device,
    with_capacity,
)
from ablab.execute.guest import as_guest
from ablab.execute.memory import retain_freed_memory
from ablab.execute.method_choice import STATEFUL
from ablab.execute.new_runs import why_new
from ablab.execute.observers import check_captures, check_queries, runs_with_fewer_statistics
from ablab.execute.options import Options
from ablab.execute.own_parts import check_own_parts
from ablab.execute.plan import Plan, check_memory, make_plan
from ablab.execute.plan_text import alone_lines, stop_lines, summary
from ablab.execute.progress import Reporter
from ablab.execute.queue import StackQueue, steps_left
from ablab.execute.resume import last_methods
from ablab.execute.samples import sample_texts
from ablab.execute.speeds import Speeds, persist_compiled_programs
from ablab.execute.stop_rules import apply_stop_rules
from ablab.execute.time_left import TimeLeft
from ablab.experiments.experiment import Experiment
from ablab.store.expected import stamp
from ablab.store.known_runs import as_stored
from ablab.store.leases import break_leases
from ablab.store.run_rows import ended_before, progress_of_runs, stopped_runs
from ablab.store.store import ExperimentRecord, Store, timestamp
from ablab.store.tidying import Tidying
from ablab.train.method import Method
from ablab.train.run import Run
from ablab.watching.step_statistics import check_watching

_MIN_RUN_STEPS = 50  # fewer steps, summed over runs, are too few to measure speed


@dataclass(frozen=True)
class TrainedExperiment:
    """An experiment after training.

    Attributes:
        store: The store that holds it.
        record: The experiment in the store.
        experiment: The experiment that was trained, with the ids that the store has for its runs.
        trained: How many runs had steps left when training began.
        complete: Whether training, with the analyses that follow it, reached its end; False if it
            was paused.
    """

    store: Store
    record: ExperimentRecord
    experiment: Experiment
    trained: int
    complete: bool


@as_guest()
def orchestrate(
    asked: Experiment,
    store: Store | str | Path,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
    while_training: Callable[[], object] = lambda: None,
) -> TrainedExperiment:
    """Trains the missing steps of an experiment and stores them.

    Args:
        asked: The experiment.
        store: A store or its folder, which is created if it does not exist.
        options: How to run it.
        command: The command line, for the logbook entry.
        reporter: Shows progress.
        should_pause: Called regularly; training pauses once it returns True.
        while_training: Called once in a thread while other processes train, if they do.

    Raises:
        InputError: An option or a pattern to watch is invalid. Nothing has been written.
        StoreError: The store cannot be used.
        ProcessError: Worker processes die before they train anything.
    """
    path = store.path if isinstance(store, Store) else store
    with doing("checking the experiment"):
        asked = _check(asked, path, options, reporter)
    opened = store if isinstance(store, Store) else Store(store, create=True)
    record = _register(asked, opened, options, command, reporter)
    until = options.until
    runs = chosen_runs(asked, options)
    left = steps_left(opened.members(record.id, [run.id for run in runs]), until=until)
    if options.break_leases:
        for holder in break_leases(opened.index, list(left)):
            reporter.message(f"runs are taken over from {holder}")
    if not left and until is not None:
        return TrainedExperiment(opened, record, asked, 0, True)
    if not left:
        cells = " of these cells" if options.where else ""
        who = f"the run{cells} is" if len(runs) == 1 else f"all {len(runs):,} runs{cells} are"
        reporter.message(f"nothing to train: {who} in {opened.path}")
        sample_texts(opened, record, asked, reporter.message)
        return TrainedExperiment(opened, record, asked, 0, True)
    with doing("planning"):
        options = with_capacity(options)
        speeds = Speeds()
        plan = replace(_planned(asked, runs, opened, options, left, speeds), until=until)
        speeds.save()
    executor = make_executor(options, plan)
    _announce(asked, plan, left, executor.processes(plan.workers), reporter)
    time_left = _start(asked, plan, left, reporter)
    recorder = _SpeedRecorder(asked, plan, speeds, reporter, time_left, executor.is_local)
    tidying = Tidying(opened)

    def report(event: dict[str, Any]) -> None:
        recorder.report(event)
        if event["event"] == "released":
            tidying.from_time_to_time()

    queue = StackQueue(
        opened, record.id, asked.definition, plan, report, should_pause, while_training
    )
    began = time.monotonic()
    try:
        with compilers(queue, left) if executor.is_local else nullcontext(queue) as stacks:
            complete = executor.train(stacks)
    finally:
        reporter.close()
    if complete and executor.is_local:
        spent, ends = time.monotonic() - began, (plan.estimate.low, plan.estimate.high)
        speeds.note_estimate(asked.name, plan.seconds, spent, ends)
    speeds.save()
    with doing("tidying the store"):
        apply_stop_rules(opened, record.id, asked.runs)  # to runs that another process has trained
        tidying.if_possible(reporter.warn)
    if complete and until is None:
        sample_texts(opened, record, asked, reporter.message)
    return TrainedExperiment(opened, record, asked, len(left), complete)


def _planned(
    asked: Experiment,
    runs: Sequence[Run],
    store: Store,
    options: Options,
    left: dict[str, int],
    speeds: Speeds,
) -> Plan:
    """The plan by which the missing steps are trained."""
    retain_freed_memory()
    persist_compiled_programs()
    before, stops = methods_before(asked, store.path), foreseen_stops(asked, store.path)
    device, elsewhere = planning_device(options), trained_elsewhere(asked, store.path, left)
    return make_plan(runs, options, left, speeds, before, stops, device, elsewhere)


def _announce(
    asked: Experiment, plan: Plan, left: dict[str, int], processes: str, reporter: Reporter
) -> None:
    """Says what will be trained and how."""
    reporter.message(summary(asked, plan, left, processes))
    for line in (*stop_lines(asked, plan, left), *alone_lines(plan, left)):
        reporter.message(line)
    for stack in {stack.why: stack for stack in plan.stacks if stack.why == STATEFUL}.values():
        text = f"runs like {stack.runs[0].id} train alone, eagerly: {STATEFUL}"
        reporter.warn(f"{text} (ablab doctor says more)")
    for stack in {stack.apart: stack for stack in plan.stacks if stack.apart}.values():
        text = "training eagerly, one run at a time, instead"
        reporter.warn(f"runs like {stack.runs[0].id}: {stack.apart}; {text}")


def _check(asked: Experiment, path: str | Path, options: Options, reporter: Reporter) -> Experiment:
    """Checks an experiment before anything is written.

    Returns:
        The experiment with the ids that the store has for its runs.
    """
    asked.resolve()
    planning_device(options)
    if options.executor != "auto":
        find_executor(options.executor)
    check_memory(asked.runs)
    check_watching(asked.runs)
    check_queries(asked.runs)
    asked, news = against_stored(asked, path)
    left = steps_to_train(asked, path, options.retry, chosen_runs(asked, options))
    to_train = [run for run in asked.runs if run.id in left]
    check_own_parts(to_train)
    if news is not None:
        reporter.message(news)
    check_captures(to_train, path)
    if to_train:
        with_capacity(options)  # that other machines can be reached
    return asked


def _register(
    asked: Experiment, store: Store, options: Options, command: str, reporter: Reporter
) -> ExperimentRecord:
    """Registers the experiment and its expectations in the store."""
    record = store.register(asked, command, environment())
    stamp(store, record, asked.expectations)
    if options.retry:
        troubled, chosen = ("failed", "diverged"), {run.id for run in chosen_runs(asked, options)}
        rows = store.runs(record)
        store.retry(row.run for row in rows if row.run in chosen and row.status in troubled)
    apply_stop_rules(store, record.id, asked.runs)
    fewer = runs_with_fewer_statistics(store, asked.runs)
    if fewer:
        lack = "lacks" if len(fewer) == 1 else "lack"
        reporter.message(
            f"{counted(len(fewer), 'run')} {lack} some of the statistics; to add them: "
            f"ablab replay {fewer[0]} --watch …"
        )
    return record


def _start(asked: Experiment, plan: Plan, left: dict[str, int], reporter: Reporter) -> TimeLeft:
    """Tells a reporter what is going to be trained; returns what estimates the time left."""
    labels = {run.id: variant.label for variant in asked.variants for run in variant.runs}
    compile_seconds = {
        number: stack.compile_seconds
        for number, stack in enumerate(plan.stacks)
        if any(run.id in left for run in stack.runs)
    }
    steps = {run.id: min(run.train.steps, plan.until or run.train.steps) for run in asked.runs}
    time_left = TimeLeft(plan, steps, left)
    reporter.start(left, steps, labels, compile_seconds, time_left.seconds)
    return time_left


class _SpeedRecorder:
    """Forwards events to a reporter and records the speed of this machine."""

    def __init__(
        self,
        asked: Experiment,
        plan: Plan,
        speeds: Speeds,
        reporter: Reporter,
        time_left: TimeLeft,
        is_local: bool,
    ) -> None:
        self._runs = {run.id: run for run in asked.runs}
        self._plan, self._speeds, self._reporter = plan, speeds, reporter
        self._time_left, self._is_local = time_left, is_local
        self._began: float | None = time.monotonic()
        self._told: set[str] = set()

    def report(self, event: dict[str, Any]) -> None:
        """Handles an event of :class:`ablab.execute.queue.StackQueue`."""
        if event.get("about") in self._told:  # another stack has said the same
            return
        self._told |= {event["about"]} if "about" in event else set()
        self._time_left.event(event)
        self._reporter.event(event)
        if event["event"] == "claimed" and self._began is not None:
            if self._plan.workers > 1 and self._is_local:
                self._speeds.note_start(time.monotonic() - self._began)
            self._began = None
        paced = event["event"] == "pace" and event["run_steps"] >= _MIN_RUN_STEPS
        if not paced and event["event"] != "compiled":
            return
        cost = count_cost(self._runs[event["run"]])
        if isinstance(cost, str):  # the step could not be counted, though it trains
            return
        if paced:
            self._note(event, cost)
        else:
            self._speeds.note_compiled(cost, Method(**event["method"]), event["seconds"])

    def _note(self, event: dict[str, Any], cost: StepCost) -> None:
        """Records how long a stack took."""
        method, plan, speeds = Method(**event["method"]), self._plan, self._speeds
        seconds = event["seconds"] / event["run_steps"]
        speeds.note_step(cost, method, plan.threads, plan.workers, seconds)
        if event["compile_seconds"]:
            speeds.note_compiled(cost, method, event["compile_seconds"])
        samples = self._runs[event["run"]].train.evaluate.samples
        seconds_each = event["evaluation_seconds"]
        speeds.note_evaluation(cost, samples, method, plan.threads, plan.workers, seconds_each)
        speeds.note_setup(method, event["runs"], seconds, event["setup_seconds"])


def against_stored(asked: Experiment, path: str | Path) -> tuple[Experiment, str | None]:
    """Compares an experiment with the runs of a store, which need not exist; writes nothing.

    Args:
        asked: The experiment.
        path: The store's folder.

    Returns:
        The experiment with the ids that the store has for its runs, and one line on why others are
        new; None if none is, or if no earlier version of the experiment is stored.

    Raises:
        InputError: A user's module has changed since it was imported.
    """
    check_sources(dict.fromkeys(source for run in asked.runs for source in run.sources))
    if not (Path(path) / "index.sqlite").is_file():
        return asked, None
    store = Store(path)
    try:
        asked = as_stored(asked, store)
        return asked, why_new(asked, store)
    finally:
        store.close()


def steps_to_train(
    asked: Experiment, path: str | Path, retry: bool, runs: Sequence[Run] | None = None
) -> dict[str, int]:
    """The number of steps that running an experiment would train, by run id; writes nothing.

    Args:
        asked: The experiment, which need not be in the store.
        path: The store's folder, which need not exist.
        retry: Whether failed and diverged runs are trained again.
        runs: Those of its runs that are to be trained; None for all.
    """
    steps = {run.id: run.train.steps for run in (asked.runs if runs is None else runs)}
    if not (Path(path) / "index.sqlite").is_file():
        return steps
    store = Store(path)
    progress, stopped = progress_of_runs(store, steps), stopped_runs(store, asked.digest)
    store.close()
    rows = [
        {
            "run": run,
            "steps": total,
            "step": step,
            "outcome": outcome,
            "stopped": stopped.get(run),
        }
        for run, total in steps.items()
        for step, outcome in [progress.get(run, (0, None))]
    ]
    return steps_left(rows, retry)


def trained_elsewhere(asked: Experiment, path: str | Path, left: Mapping[str, int]) -> set[str]:
    """The runs that other experiments had trained before this one was first asked for.

    Args:
        asked: The experiment, which need not be in the store.
        path: The store's folder, which need not exist.
        left: Steps left to train, by run id.
    """
    if not (Path(path) / "index.sqlite").is_file():
        return set()
    store = Store(path)
    record = store.experiment_of_digest(asked.digest)
    ended = [run.id for run in asked.runs if run.id not in left]
    found = ended_before(store, ended, timestamp() if record is None else record.created)
    store.close()
    return found


def methods_before(asked: Experiment, path: str | Path) -> dict[str, Method]:
    """The methods that have trained runs of an experiment so far, by run id; writes nothing.

    Args:
        asked: The experiment, which need not be in the store.
        path: The store's folder, which need not exist.
    """
    if not (Path(path) / "index.sqlite").is_file():
        return {}
    store = Store(path)
    found = last_methods(store, asked.runs)
    store.close()
    return found
