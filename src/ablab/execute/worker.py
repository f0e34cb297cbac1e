"""A worker process: ``python -m ablab.execute.worker``.

It reads its task as one line of JSON from standard input and writes events as lines of JSON to
standard output. It pauses on SIGTERM. It exits immediately if standard input closes, because then
the process that started it has ended.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ablab.config import InputError, Problem
from ablab.config.errors import NOT_GIVEN
from ablab.execute.ahead.exchange import Exchange
from ablab.execute.estimate import Estimate
from ablab.execute.executors.in_process import InProcess
from ablab.execute.pause import pause_on_signals
from ablab.execute.plan import Plan, PlannedStack
from ablab.execute.queue import StackQueue
from ablab.experiments.experiment import Experiment, experiment
from ablab.store.index import StoreError
from ablab.store.known_runs import as_stored
from ablab.store.store import Store
from ablab.train.method import Method

STORE_ERROR = 3  # exit code if the store cannot be used


def plan_as_data(plan: Plan) -> dict[str, Any]:
    """A plan as plain data, without what only its report needs: the alternatives."""
    return {
        "stacks": [
            {
                "runs": [run.id for run in stack.runs],
                "method": asdict(stack.method),
                "fallback": None if stack.fallback is None else asdict(stack.fallback),
                "why": stack.why,
                "bytes": stack.bytes,
                "seconds": stack.seconds,
                "estimate": asdict(stack.estimate),
                "all_stacks": asdict(stack.all_stacks),
                "apart": stack.apart,
            }
            for stack in plan.stacks
        ],
        "seeds": 1 + max((run.seed for stack in plan.stacks for run in stack.runs), default=0),
        "device": plan.device,
        "workers": plan.workers,
        "threads": plan.threads,
        "seconds": plan.seconds,
        "compiling": plan.compiling,
        "estimate": asdict(plan.estimate),
        "slowdown": plan.slowdown,
        "until": plan.until,
    }


def plan_from_data(data: dict[str, Any], asked: Experiment) -> Plan:
    """The plan from the output of :func:`plan_as_data`.

    Raises:
        StoreError: A run is not one of the experiment.
    """
    if asked.settling is not None:  # the definition has the seeds of the first round
        asked = asked.with_seeds(dict.fromkeys(range(len(asked.variants)), data["seeds"]))
    runs = {run.id: run for run in asked.runs}
    if not runs.keys() >= {run for stack in data["stacks"] for run in stack["runs"]}:
        raise StoreError(
            Problem(
                "the code of a component has changed since this command was started",
                given=asked.name,
                expected="the same command again, which trains runs of the code as it is now",
            )
        )
    stacks = tuple(
        PlannedStack(
            tuple(runs[run] for run in stack["runs"]),
            Method(**stack["method"]),
            None if stack["fallback"] is None else Method(**stack["fallback"]),
            stack["why"],
            stack["bytes"],
            stack["seconds"],
            (),
            Estimate(**stack["estimate"]),
            Estimate(**stack["all_stacks"]),
            stack["apart"],
        )
        for stack in data["stacks"]
    )
    return Plan(
        stacks, data["device"], data["workers"], data["threads"], data["seconds"],
        data["compiling"], Estimate(**data["estimate"]), slowdown=data["slowdown"],
        until=data["until"],
    )  # fmt: skip


def problems_as_data(error: InputError) -> list[dict[str, Any]]:
    """The problems of an error as plain data."""
    return [
        {name: value if isinstance(value, int | float | None) else str(value) for name, value in
         vars(problem).items() if value is not NOT_GIVEN}
        for problem in error.problems
    ]  # fmt: skip


def open_events() -> Callable[[dict[str, Any]], None]:
    """Keeps standard output for events, and returns the function that writes them.

    Everything else that is printed goes to standard error. If the process that reads the events has
    ended, this one ends, too.
    """
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def report(event: dict[str, Any]) -> None:
        try:
            events.write(json.dumps(event) + "\n")
            events.flush()
        except OSError:  # the process that started this one has ended: no run is at fault
            os._exit(1)

    return report


def main() -> None:
    """Trains the stacks of the plan that standard input describes."""
    should_pause = pause_on_signals()
    report = open_events()
    data = json.loads(sys.stdin.readline())
    sys.path[:] = data["path"]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        store = Store(data["store"])
        asked = as_stored(experiment(data["definition"]), store)
        plan = plan_from_data(data["plan"], asked)
        ahead = None if data.get("ahead") is None else Exchange.from_data(data["ahead"])
        InProcess().train(
            StackQueue(
                store, data["experiment"], data["definition"], plan, report, should_pause,
                ahead=ahead,
            )
        )  # fmt: skip
    except StoreError as error:
        report({"event": "store_error", "problems": problems_as_data(error)})
        sys.exit(STORE_ERROR)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
