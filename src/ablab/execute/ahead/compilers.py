"""Starts the compiler processes of a command, on the cores that its training leaves idle."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ablab.execute.ahead.exchange import Exchange, Wanted
from ablab.execute.ahead.programs import is_stored, program_of
from ablab.execute.device import free_memory, visible_device
from ablab.execute.options import cpu_count
from ablab.execute.plan import Plan
from ablab.execute.queue import StackQueue
from ablab.execute.worker import plan_as_data
from ablab.train.compiling import is_traced_only

_MOST = 4  # compilers of one command
_END_SECONDS = 2.0  # for compilers to end by themselves
_MEMORY_SHARE = 0.25  # of what is free, which the stacks of all compilers together may take


@contextmanager
def compilers(queue: StackQueue, left: Collection[str]) -> Iterator[StackQueue]:
    """Within this context, idle cores compile the programs of a queue's stacks.

    Args:
        queue: The queue.
        left: The ids of the runs that have steps left to train.

    Yields:
        The queue to train: processes that train know of the compilers, and what these compile is
        reported as events ``compiled``, each before the next event of training.
    """
    plan = queue.plan
    idle, lent = _cores(plan)
    wanted = {} if is_traced_only() or not idle else _programs(plan, left)
    count = min(idle, len(wanted), _MOST)
    # Stacks whose method the user chose compile the programs themselves that they need first.
    waits = any(each.meanwhile for each in wanted.values())
    if count < 1 or not (waits or (not lent and len(wanted) > plan.workers)):
        yield queue
        return
    with tempfile.TemporaryDirectory(
        prefix="ablab-compiling-", ignore_cleanup_errors=True
    ) as folder:
        exchange = Exchange(Path(folder), wanted, lent)
        try:
            started = _Compilers(queue, exchange, count)
        except OSError:  # no further process can be started
            yield queue
            return
        try:
            yield replace(queue, ahead=exchange, report=started.report)
        finally:
            started.stop()


def _cores(plan: Plan) -> tuple[int, int]:
    """How many compilers may run, and how many threads a stack lends them while it waits.

    Threads of a step wait for each other, so a compiler that takes the core of one slows all down.
    """
    threads = plan.threads if plan.device == "cpu" else 1
    idle = cpu_count() - plan.workers * threads
    if idle < 1 and plan.workers == 1 and threads > 1:
        return 1, 1
    return max(0, idle), 0


def _programs(plan: Plan, left: Collection[str]) -> dict[str, Wanted]:
    """The programs that are not stored, of stacks that fit into memory a second time."""
    free = free_memory(torch.device(plan.device))
    found: dict[str, Wanted] = {}
    for number, stack in enumerate(plan.stacks):
        runs = [run for run in stack.runs if run.id in left]
        program = program_of(stack, runs, plan)
        if program is None or program in found or is_stored(program):
            continue
        if stack.bytes * _MOST <= _MEMORY_SHARE * free:
            ids = tuple(run.id for run in runs)
            found[program] = Wanted(number, ids, stack.fallback is not None)
    return found


class _Compilers:
    """The compiler processes."""

    def __init__(self, queue: StackQueue, exchange: Exchange, count: int) -> None:
        self._queue, self._exchange = queue, exchange
        self._events: deque[dict[str, Any]] = deque()
        spec = {
            "store": str(queue.store.path.absolute()),
            "definition": queue.definition,
            "plan": plan_as_data(queue.plan),
            "path": [str(each) for each in sys.path],
            "exchange": exchange.as_data(),
        }
        self._lock = threading.Lock()
        self._processes = {number: self._start(number, spec) for number in range(count)}
        self._threads = [
            threading.Thread(target=self._listen, args=each, daemon=True)
            for each in list(self._processes.items())
        ]
        for thread in self._threads:
            thread.start()

    def _start(self, number: int, spec: dict[str, Any]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "ablab.execute.ahead.compiler_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a stack whose program fails says so itself
            text=True,
            env=os.environ | (visible_device(number) if self._queue.plan.device == "cuda" else {}),
            start_new_session=True,  # Ctrl-C reaches only the command
        )
        assert process.stdin is not None, "asked for a pipe"
        with suppress(BrokenPipeError):  # it has ended already, which its thread sees
            process.stdin.write(json.dumps(spec | {"number": number}) + "\n")
            process.stdin.flush()
        return process

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        """Keeps the events of a compiler, and notes its end."""
        with suppress(BrokenPipeError), process:  # closes the pipes
            assert process.stdout is not None, "asked for a pipe"
            for line in process.stdout:
                with suppress(json.JSONDecodeError):  # cut short by a kill
                    self._events.append(json.loads(line))
        with self._lock, suppress(OSError):  # the folder may be gone at the command's end
            del self._processes[number]
            self._exchange.end(number, is_last=not self._processes)

    def report(self, event: dict[str, Any]) -> None:
        """Reports the events of compilers, and then another one."""
        self._pass_on()
        self._queue.report(event)

    def _pass_on(self) -> None:
        while self._events:
            self._queue.report(self._events.popleft())

    def stop(self) -> None:
        """Ends the compilers."""
        self._signal(signal.SIGTERM)  # a C++ compiler that is told to end removes what is not whole
        until = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._signal(signal.SIGKILL)
        for thread in self._threads:
            thread.join()
        self._pass_on()

    def _signal(self, number: int) -> None:
        """Sends a signal to the compilers and to the processes that they have started."""
        with self._lock:
            for process in self._processes.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
