"""An experiment carried out from its registration to its last step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablab.execute.cost import count_cost
from ablab.execute.environment import environment
from ablab.execute.executors import execute
from ablab.execute.memory import retain_freed_memory
from ablab.execute.observers import runs_with_fewer_statistics
from ablab.execute.options import Options
from ablab.execute.plan import Plan, make_plan
from ablab.execute.progress import Reporter, duration
from ablab.execute.queue import StackQueue, unfinished
from ablab.execute.speeds import Speeds, persist_compiled_programs
from ablab.execute.stop_rules import apply_stop_rules
from ablab.experiments.experiment import Experiment
from ablab.store.expected import stamp
from ablab.store.metrics import compact
from ablab.store.store import ExperimentRecord, Store
from ablab.train.method import Method

_ENOUGH_STEPS = 50  # all runs together, to say anything of a machine's speed


@dataclass(frozen=True)
class Orchestrated:
    """What carrying out an experiment came to.

    Attributes:
        record: The experiment in the store.
        trained: How many runs had steps left when it began.
        complete: Whether it reached its end; False where it was paused.
    """

    record: ExperimentRecord
    trained: int
    complete: bool


def orchestrate(
    asked: Experiment,
    store: Store,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
) -> Orchestrated:
    """Trains what is missing of an experiment and keeps it.

    Args:
        asked: The experiment.
        store: Where it is kept.
        options: How it is carried out.
        command: The command that asked for it, for its entry.
        reporter: Is told of the progress.
        should_pause: Asked at every logged step.
    """
    record = store.register(asked, command, environment())
    stamp(store, record, asked.expectations)
    if options.retry:
        troubled = ("failed", "diverged")
        store.retry(run.run for run in store.runs(record) if run.status in troubled)
    apply_stop_rules(store, record.id, asked.runs)
    left = unfinished(store, record.id)
    less = runs_with_fewer_statistics(store, asked.runs)
    if less:
        reporter.message(
            f"{len(less)} runs were trained, at least in part, with other statistics watched; "
            f"ablab replay adds them: ablab replay {less[0]} --watch …"
        )
    if not left:
        reporter.message(f"nothing to train: all {len(asked.runs)} runs are in {store.path}")
        return Orchestrated(record, 0, True)
    reporter.message(f"{asked.name}: planning")
    retain_freed_memory()
    persist_compiled_programs()
    speeds = Speeds()
    plan = make_plan(asked.runs, options, left, speeds)
    speeds.save()
    reporter.message(summary(asked, plan, left))
    labels = {run.id: variant.label for variant in asked.variants for run in variant.runs}
    steps = {run.id: run.train.steps for run in asked.runs}
    reporter.start(left, steps, labels)
    learner = _Learner(asked, plan, speeds, reporter)
    began = time.monotonic()
    try:
        complete = execute(StackQueue(store, record.id, plan, learner.event, should_pause), asked)
    finally:
        reporter.close()
    if complete:
        speeds.note_estimate(asked.name, plan.seconds, time.monotonic() - began)
    speeds.save()
    apply_stop_rules(store, record.id, asked.runs)  # what another process trained meanwhile
    compact(store)
    return Orchestrated(record, len(left), complete)


class _Learner:
    """Learns this machine's speeds from what is trained, and passes on what it is told."""

    def __init__(self, asked: Experiment, plan: Plan, speeds: Speeds, reporter: Reporter) -> None:
        self._runs = {run.id: run for run in asked.runs}
        self._plan, self._speeds, self._reporter = plan, speeds, reporter
        self._began: float | None = time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        """Takes an event of :class:`ablab.execute.queue.StackQueue`."""
        self._reporter.event(event)
        if event["event"] == "taken" and self._began is not None:
            if self._plan.workers > 1:
                self._speeds.note_start(time.monotonic() - self._began)
            self._began = None
        if event["event"] != "pace" or event["run_steps"] < _ENOUGH_STEPS:
            return
        cost = count_cost(self._runs[event["run"]])
        if isinstance(cost, str):  # it could not be counted, and was trained all the same
            return
        method, plan = Method(**event["method"]), self._plan
        seconds = event["seconds"] / event["run_steps"]
        self._speeds.note_step(cost, method, plan.threads, plan.workers, seconds)
        if event["compile_seconds"]:
            self._speeds.note_compiled(cost, method, event["compile_seconds"])


def steps_to_train(asked: Experiment, path: str | Path, retry: bool) -> dict[str, int]:
    """Steps that carrying an experiment out would train now, by run id; nothing is written.

    Args:
        asked: The experiment, which the store may not know yet.
        path: The store, which may not be there yet.
        retry: Whether runs that failed or diverged would be tried again.
    """
    steps = {run.id: run.train.steps for run in asked.runs}
    if not (Path(path) / "index.sqlite").is_file():
        return steps
    store = Store(path)
    stored = {row["id"]: row for row in store.index.rows("SELECT id, step, outcome FROM runs")}
    rows = store.index.rows(
        """SELECT run FROM members JOIN experiments ON id = experiment
           WHERE digest = ? AND stopped IS NOT NULL""",
        asked.digest,
    )
    stopped = {row["run"] for row in rows}
    store.close()
    left = {}
    for run, total in steps.items():
        row = stored.get(run)
        ended = run in stopped or (row is not None and row["outcome"] is not None and not retry)
        done = 0 if row is None else row["step"]
        if not ended and (done < total or (row is not None and row["outcome"] is not None)):
            left[run] = max(1, total - done)
    return left


def summary(asked: Experiment, plan: Plan, left: dict[str, int]) -> str:
    """The plan in a line, before anything trains."""
    stacks = [stack for stack in plan.stacks if any(run.id in left for run in stack.runs)]
    memory = sum(sorted(stack.bytes for stack in stacks)[-plan.workers :])
    processes = "this process" if plan.workers == 1 else f"{plan.workers} worker processes"
    done = len(asked.runs) - len(left)
    return (
        f"{asked.name}: {len(left)} runs to train in {len(stacks)} stacks"
        + (f" ({done} are there already)" if done else "")
        + f", by {processes} on {plan.device}; about {duration(plan.seconds)}, "
        f"{memory / 2**20:,.0f} MiB"
    )
