"""Trains in worker processes of this machine, which share the queue through the store."""

import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from ablab.config import Problem
from ablab.execute.deaths import Deaths
from ablab.execute.device import visible_device
from ablab.execute.errors import ProcessError
from ablab.execute.executor import Executor
from ablab.execute.options import EXECUTORS
from ablab.execute.queue import StackQueue
from ablab.execute.worker import STORE_ERROR, plan_as_data
from ablab.store.files import check_writable
from ablab.store.index import StoreError

_END_SECONDS = 10.0  # for workers to end by themselves after an error of the store
_LOOK_SECONDS = 1.0  # between two looks at whether the store is still there


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
        self._stack: dict[int, int] = {}
        self._store_errors: dict[int, StoreError] = {}
        self._deaths = Deaths(stacks.store)
        self._started = 0
        self._ending = False  # the workers were asked to pause
        self._error: StoreError | None = None
        self._last = math.inf  # when workers that have not ended are killed
        self._looked = time.monotonic()
        self._while_training = threading.Thread(target=stacks.while_training, daemon=True)

    def run(self) -> bool:
        """Starts the workers and handles their events until all have ended.

        Raises:
            StoreError: The store cannot be used. The workers have ended.
        """
        try:
            for _ in range(self._stacks.plan.workers):
                self._start()
            while self._processes and time.monotonic() < self._last:
                if self._stacks.should_pause() and not self._ending:
                    self._stacks.report({"event": "pausing"})
                    self._pause()
                try:
                    self._handle_next()
                except StoreError as error:
                    self._error = self._error or error
                    self._last = min(self._last, time.monotonic() + _END_SECONDS)
                    self._pause()
        finally:
            for process in self._processes.values():
                process.kill()
            for process in self._processes.values():
                process.wait()
                _close(process)
        if self._error is not None:
            raise self._error
        return not self._stacks.unfinished()

    def _pause(self) -> None:
        """Asks the workers to save their progress and to end."""
        if not self._ending:
            self._ending = True
            for process in self._processes.values():
                process.terminate()

    def _handle_next(self) -> None:
        """Handles the next event, if there is one soon, and looks whether the store is there."""
        try:
            number, event = self._events.get(timeout=0.2)
        except queue.Empty:
            pass
        else:
            if event is None:
                self._handle_exit(number)
            else:
                self._handle_event(number, event)
        if self._error is None and time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._stacks.store.index.check_in_place()

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
        self._processes[number] = process
        spec = {
            "store": str(self._stacks.store.path.absolute()),
            "experiment": self._stacks.experiment,
            "definition": self._stacks.definition,
            "plan": plan_as_data(self._stacks.plan),
            "path": sys.path,
            "ahead": None if self._stacks.ahead is None else self._stacks.ahead.as_data(),
        }
        with suppress(BrokenPipeError):  # it has ended already, which its exit says
            process.stdin.write(json.dumps(spec) + "\n")
            process.stdin.flush()
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None, "asked for a pipe"
        try:
            for line in process.stdout:
                try:
                    self._events.put((number, json.loads(line)))
                except json.JSONDecodeError:  # cut short by a kill
                    self._events.put((number, {"event": "message", "text": line.rstrip()}))
        except ValueError:  # closed, because the process was killed
            pass
        finally:
            self._events.put((number, None))

    def _handle_event(self, number: int, event: dict[str, Any]) -> None:
        if event["event"] == "claimed":
            self._training[number] = event["ids"]
            self._stack[number] = event["stack"]
        elif event["event"] == "progress" and self._while_training.ident is None:
            self._while_training.start()
        elif event["event"] == "store_error":
            problems = [Problem(**each) for each in event["problems"]]
            self._store_errors[number] = StoreError(*problems)
            return
        elif event["event"] == "waiting":
            self._training.pop(number, None)
            if self._training:
                return  # it waits for a process of this same command
        self._stacks.report(event)

    def _handle_exit(self, number: int) -> None:
        """Handles the end of a worker, which is done, was paused, or died.

        Raises:
            StoreError: It could not use the store, or the store is gone or cannot be written: no
                run is at fault.
        """
        process = self._processes.pop(number)
        held = self._training.pop(number, [])
        code = process.wait()
        _close(process)
        if held:
            self._stacks.report({"event": "released", "stack": self._stack[number]})
        if number in self._store_errors and code == STORE_ERROR:
            raise self._store_errors[number]
        if code == 0 or self._ending:
            return
        check_writable(self._stacks.store.index)
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._stacks.report({"event": "message", "text": f"a worker process died ({cause})"})
        self._deaths.note(held, cause)
        if not held and self._started >= 3 * self._stacks.plan.workers:
            raise ProcessError(f"worker processes die before they train anything ({cause})")
        self._start()


def _close(process: subprocess.Popen[str]) -> None:
    """Closes the pipes of a process that has ended."""
    for stream in (process.stdin, process.stdout):
        assert stream is not None, "asked for pipes"
        with suppress(BrokenPipeError):  # it ended before it had read everything
            stream.close()
