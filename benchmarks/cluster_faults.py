"""An executor for ``benchmarks/cluster.py faults``: some messages come twice or late."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ablab.execute.cluster.machines import Call
from ablab.execute.executors import ray as shipped
from ablab.execute.queue import StackQueue

_LATE_SECONDS = 8.0


class Troubled(shipped.RayCluster):
    """The shipped executor, with faults and a log of what was trained."""

    def train(self, queue: StackQueue) -> bool:
        """See :meth:`ablab.execute.executor.Executor.train`."""
        with Path(os.environ["TROUBLE_LOG"]).open("a", buffering=1) as log:
            return self._train(queue, log)

    def _train(self, queue: StackQueue, log: TextIO) -> bool:
        totals = {run.id: run.train.steps for stack in queue.plan.stacks for run in stack.runs}

        def report(event: dict[str, Any]) -> None:
            if event["event"] in ("claimed", "progress"):
                line = {key: event[key] for key in ("event", "ids", "step") if key in event}
                if event["event"] == "claimed":
                    left = queue.unfinished()
                    line["from"] = {run: totals[run] - left.get(run, 0) for run in event["ids"]}
                log.write(json.dumps(line) + "\n")
            queue.report(event)

        kinds = [each for each in os.environ["TROUBLE"].split(",") if each]
        held_back: dict[Call, float] = {}
        plain, plain_wait = shipped._RayLine.call, shipped._RayMachines.wait

        def wait(machines: Any, calls: Sequence[Call], seconds: float) -> Sequence[Call]:
            ready = list(plain_wait(machines, calls, seconds))
            for each in ready:
                if "message late" in kinds and _has_shipment(each):
                    kinds.remove("message late")
                    held_back[each] = time.monotonic() + _LATE_SECONDS
            due = [each for each in ready if held_back.get(each, 0.0) < time.monotonic()]
            if not due:
                time.sleep(0.05)
            return due

        def call(line: Any, method: str, *arguments: Any) -> Call:
            if arguments[1:2] == ("acknowledge",) and "message twice" in kinds:
                kinds.remove("message twice")
                return plain(line, "hello")  # lost on its way, so that the message comes again
            return plain(line, method, *arguments)

        shipped._RayLine.call, shipped._RayMachines.wait = call, wait
        try:
            return super().train(replace(queue, report=report))
        finally:
            shipped._RayLine.call, shipped._RayMachines.wait = plain, plain_wait


def _has_shipment(call: Call) -> bool:
    with suppress(Exception):  # the command handles it
        return getattr(call.result(), "sent", None) is not None
    return False
