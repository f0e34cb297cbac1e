"""A compiler process: ``python -m ablab.execute.ahead.compiler_process``.

It reads its task as one line of JSON from standard input, compiles one program after another, and
writes an event for each as a line of JSON to standard output. It trains nothing and writes nothing
to the store. It exits immediately if standard input closes.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ablab.execute.ahead.exchange import Exchange
from ablab.execute.ahead.programs import note_stored
from ablab.execute.memory import retain_freed_memory
from ablab.execute.observers import make_collector
from ablab.execute.plan import Plan
from ablab.execute.verify import verify
from ablab.execute.worker import open_events, plan_from_data
from ablab.experiments.experiment import experiment
from ablab.store.known_runs import as_stored
from ablab.store.store import Store
from ablab.train.method import Method
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.watching.config import WatchConfig

_LOOK_SECONDS = 0.05  # between two looks at what is wanted


def main() -> None:
    """Compiles the programs that standard input asks for."""
    report = open_events()
    data = json.loads(sys.stdin.readline())
    sys.path[:] = data["path"]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    store = Store(data["store"], write=False)
    asked = as_stored(experiment(data["definition"]), store)
    plan = plan_from_data(data["plan"], asked)
    exchange = Exchange.from_data(data["exchange"])
    torch.set_num_threads(plan.threads)
    retain_freed_memory()
    while (program := _next(exchange, data["number"])) is not None:
        wanted = exchange.programs[program]
        planned = plan.stacks[wanted.stack]
        runs = [run for run in planned.runs if run.id in wanted.runs]
        try:
            seconds = _compile(runs, planned.method, plan)
        except Exception:  # the stack will raise the same and report it
            seconds = None
        if seconds is None:
            exchange.fail(program)
            continue
        note_stored(program)
        method = asdict(planned.method)
        report({"event": "compiled", "run": runs[0].id, "method": method, "seconds": seconds})


def _next(exchange: Exchange, number: int) -> str | None:
    """The program to compile next; waits while stacks may ask for one; None if none is left."""
    while (program := exchange.next(number)) is None and exchange.may_want_more():
        time.sleep(_LOOK_SECONDS)
    return program


def _compile(runs: Sequence[Run], method: Method, plan: Plan) -> float | None:
    """Compiles the programs of a stack; returns how long that took, or None if it fails."""
    stack = Stack(runs, None, torch.device(plan.device), method)
    watch = runs[0].watch
    assert isinstance(watch, WatchConfig), "the runs of an experiment have a watch section"
    verify(stack, None, _ignore, lambda stack: make_collector(stack, watch))
    return stack.compile_seconds if stack.method == method else None


def _ignore(event: dict[str, Any]) -> None:
    """Says nothing: the stack that trains is verified, too."""


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
