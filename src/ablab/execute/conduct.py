"""An experiment carried out from its registration to its last step."""

from collections.abc import Callable
from dataclasses import dataclass

from ablab.execute.environment import environment
from ablab.execute.executors import execute
from ablab.execute.options import Options
from ablab.execute.plan import Estimate, Plan, estimate, make_plan
from ablab.execute.progress import Reporter, duration
from ablab.execute.work import Job, settle_stops, unfinished
from ablab.experiments.experiment import Experiment
from ablab.store.metrics import compact
from ablab.store.store import ExperimentRecord, Store

_ESTIMATE_SECONDS = 3.0


@dataclass(frozen=True)
class Conducted:
    """What carrying out an experiment came to.

    Attributes:
        record: The experiment in the store.
        trained: How many runs had steps left when it began.
        complete: Whether it reached its end; False where it was paused.
    """

    record: ExperimentRecord
    trained: int
    complete: bool


def conduct(
    asked: Experiment,
    store: Store,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
) -> Conducted:
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
    if options.retry:
        store.retry(run.id for run in asked.runs)
    settle_stops(store, record.id, asked.runs)
    left = unfinished(store, record.id)
    if not left:
        reporter.message(f"nothing to train: all {len(asked.runs)} runs are in {store.path}")
        return Conducted(record, 0, True)
    plan = make_plan(asked.runs, options, left)
    reporter.message(summary(asked, plan, left, estimate(plan, left, _ESTIMATE_SECONDS)))
    labels = {run.id: variant.label for variant in asked.variants for run in variant.runs}
    steps = {run.id: run.train.steps for run in asked.runs}
    reporter.start(left, steps, labels)
    try:
        complete = execute(Job(store, record.id, plan, reporter.event, should_pause), asked)
    finally:
        reporter.close()
    compact(store)
    return Conducted(record, len(left), complete)


def summary(asked: Experiment, plan: Plan, left: dict[str, int], expected: Estimate) -> str:
    """The plan in a line, before anything trains."""
    stacks = [stack for stack in plan.stacks if any(run.id in left for run in stack.runs)]
    memory = max(stack.bytes for stack in stacks) * plan.workers
    processes = "this process" if plan.workers == 1 else f"{plan.workers} worker processes"
    done = len(asked.runs) - len(left)
    return (
        f"{asked.name}: {len(left)} runs to train in {len(stacks)} stacks"
        + (f" ({done} are there already)" if done else "")
        + f", by {processes} on {plan.device}; about {duration(expected.seconds)}, "
        f"{memory / 2**20:,.0f} MiB"
    )
