"""Trains in worker processes of this machine, which share the queue through the store."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

from ablab.config import Problem
from ablab.execute.device import visible_device
from ablab.execute.errors import ProcessError
from ablab.execute.executor import Executor
from ablab.execute.options import EXECUTORS
from ablab.execute.queue import StackQueue
from ablab.execute.worker import STORE_ERROR, plan_as_data
from ablab.store.index import StoreError
from ablab.store.run_rows import count_deaths, fail_run

_MAX_DEATHS = 2  # processes that may die training a run alone before it counts as failed


@EXECUTORS.register("worker_processes")
class WorkerProcesses(Executor):
    """Starts one process per worker of the plan; each trains like :class:`InProcess`."""

    def train(self, queue: StackQueue) -> bool:
        """See :meth:`Executor.train`."""
        return _Pool(queue).run()


class _Pool:
    """The worker processes and the events that they report."""

    def __init__(self, stacks: StackQueue) -> None:
        self._stacks = stacks
        self._events: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._training: dict[int, list[str]] = {}
        self._deaths: Counter[str] = Counter()
        self._started = 0
        self._store_error = ""

    def run(self) -> bool:
        """Starts the workers and handles their events until all have ended."""
        for _ in range(self._stacks.plan.workers):
            self._start()
        paused = False
        try:
            while self._processes:
                if self._stacks.should_pause() and not paused:
                    paused = True
                    self._stacks.report({"event": "pausing"})
                    for process in self._processes.values():
                        process.terminate()
                try:
                    number, event = self._events.get(timeout=0.2)
                except queue.Empty:
                    continue
                if event is None:
                    self._handle_exit(number, paused)
                else:
                    self._handle_event(number, event)
        finally:
            for process in self._processes.values():
                process.kill()
        return not self._stacks.unfinished()

    def _start(self) -> None:
        number = self._started
        self._started += 1
        process = subprocess.Popen(
            [sys.executable, "-m", "ablab.execute.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"OMP_NUM_THREADS": str(self._stacks.plan.threads)}
            | (visible_device(number) if self._stacks.plan.device == "cuda" else {}),
            start_new_session=True,  # Ctrl-C reaches only this process, which asks them to pause
        )
        assert process.stdin is not None, "asked for a pipe"
        spec = {
            "store": str(self._stacks.store.path.absolute()),
            "experiment": self._stacks.experiment,
            "definition": self._stacks.definition,
            "plan": plan_as_data(self._stacks.plan),
            "path": sys.path,
        }
        process.stdin.write(json.dumps(spec) + "\n")
        process.stdin.flush()
        self._processes[number] = process
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None, "asked for a pipe"
        try:
            for line in process.stdout:
                try:
                    self._events.put((number, json.loads(line)))
                except json.JSONDecodeError:  # cut short by a kill
                    self._events.put((number, {"event": "message", "text": line.rstrip()}))
        finally:
            self._events.put((number, None))

    def _handle_event(self, number: int, event: dict[str, Any]) -> None:
        if event["event"] == "claimed":
            self._training[number] = event["ids"]
        elif event["event"] == "store_error":
            self._store_error = event["text"]
            return
        elif event["event"] == "waiting":
            self._training.pop(number, None)
            if self._training:
                return  # it waits for a process of this same command
        self._stacks.report(event)

    def _handle_exit(self, number: int, paused: bool) -> None:
        """Handles the end of a worker, which is done, was paused, or died."""
        process = self._processes.pop(number)
        held = self._training.pop(number, [])
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None, "asked for pipes"
            stream.close()
        if code == STORE_ERROR:  # which the worker reported; no run is at fault
            raise StoreError(Problem(self._store_error or "a worker cannot write the store"))
        if code == 0 or paused:
            return
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._stacks.report({"event": "message", "text": f"a worker process died ({cause})"})
        count_deaths(self._stacks.store, held)
        if len(held) == 1:
            self._deaths[held[0]] += 1
            if self._deaths[held[0]] >= _MAX_DEATHS:
                fail_run(self._stacks.store, held[0], f"its process died repeatedly ({cause})")
        if not held and self._started >= 3 * self._stacks.plan.workers:
            raise ProcessError(f"worker processes die before they train anything ({cause})")
        self._start()
