"""Computes the findings that a store lacks, here and in worker processes."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from ablab.analysis.chosen import Chosen
from ablab.analysis.examine import Failure
from ablab.analysis.request import Request
from ablab.analysis.units import Unit, make_units
from ablab.analysis.work import Progress, missing, work_off
from ablab.store.findings import record_analyses
from ablab.store.store import Store

_DIVIDE_ABOVE_SECONDS = 20.0  # of work left; units are then made smaller and workers started
_END_SECONDS = 10.0
_FEWEST, _EARLIEST = 20, 5.0  # findings, or seconds, before the time left is estimated
_UNITS_PER_PROCESS = 4

Tell = Callable[[int, int, float | None], None]  # findings so far, all, seconds left


class Computation:
    """Computes the findings that a store lacks.

    Args:
        store: The store.
        chosen: The runs and steps.
        requests: The analyses.
        tell: Called with the progress.
        workers: Processes at most, this one included; by default one per core. They are started
            only if much work is left once the first findings are there.
        should_pause: Whether to stop soon.

    Attributes:
        asked: The number of findings, with those that the store has.
        stored: The number of those that the store had.
        failures: What failed.
        processes: The number of processes that worked.
        complete: Whether all is done, apart from what failed.
    """

    def __init__(
        self,
        store: Store,
        chosen: Chosen,
        requests: Sequence[Request],
        tell: Tell = lambda found, every, left: None,
        workers: int | None = None,
        should_pause: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._chosen, self._requests = store, chosen, list(requests)
        self._tell, self._workers, self._should_pause = tell, workers, should_pause
        self._lacking = self._missing()
        self._left = sum(map(len, self._lacking.values()))
        self.asked = chosen.models * len(self._requests)
        self.stored = self.asked - self._left
        self.failures: list[Failure] = []
        self.processes = 1
        self.complete = True
        self._is_divided = self._is_dividing = False
        self._others: list[subprocess.Popen[str]] = []
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._found_elsewhere = 0

    def run(self) -> bool:
        """Computes; returns whether all is done.

        Raises:
            StoreError: The store cannot be written, or a snapshot is missing or damaged.
        """
        if not self._left:
            return True
        most = self._workers or os.cpu_count() or 1
        record_analyses(self._store, {each.name: each.about for each in self._requests})
        self._parts = most * _UNITS_PER_PROCESS
        self._most = min(most, len(self._make_units(self._parts)))
        self._began = time.monotonic()
        with ExitStack() as self._threads:
            self._threads.callback(self._end_others)
            progress = self._work_off()
        known = {(each.run, each.step, each.name) for each in progress.failures}
        self.failures = progress.failures + [
            each for each in self.failures if (each.run, each.step, each.name) not in known
        ]
        left = self._missing()
        self.complete = sum(map(len, left.values())) <= len(self.failures)
        return self.complete

    def _work_off(self) -> Progress:
        """Computes what is lacking here, in units as large as possible until others can help."""
        progress, units = Progress(), self._make_units(1)
        while True:
            work_off(
                self._store,
                units,
                self._requests,
                self._report,
                lambda: self._is_dividing or self._should_pause(),
                wait=True,
                progress=progress,
            )
            if not self._is_dividing:
                return progress
            self._is_dividing = False
            self._lacking = self._missing()
            units = self._make_units(self._parts)

    def _missing(self) -> dict[tuple[str, int], list[str]]:
        return missing(self._store, self._chosen.runs, self._chosen.steps, self._requests)

    def _make_units(self, parts: int) -> list[Unit]:
        steps = [
            [step for step in own if (run.id, step) in self._lacking]
            for run, own in zip(self._chosen.runs, self._chosen.steps, strict=True)
        ]
        return make_units(self._chosen.runs, steps, parts)

    def _report(self, progress: Progress) -> None:
        while True:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
            self._found_elsewhere += event.get("found", 0)
            if "failure" in event:
                self.failures.append(Failure(**event["failure"]))
        done = progress.found + len(progress.failures) + self._found_elsewhere
        seconds = time.monotonic() - self._began
        remaining = max(0, self._left - done)
        known = done >= _FEWEST or seconds > _EARLIEST  # the first one loads models and samples
        estimate = seconds / done * remaining if known and done else None
        if not self._is_divided and estimate is not None and estimate > _DIVIDE_ABOVE_SECONDS:
            self._is_divided = self._is_dividing = True
            if self._most > 1:
                self._start_others()
        self._tell(self.stored + done, self.asked, estimate)

    def _start_others(self) -> None:
        cores = os.cpu_count() or 1
        self.processes = self._most
        threads = max(1, cores // self.processes)
        self._threads.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(threads)
        # NumPy's own threads, which others have as many of as OMP_NUM_THREADS says, would take
        # the cores of the other processes while they wait for each other.
        own = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        self._threads.enter_context(threadpool_limits(min([threads, *own]), "blas"))
        spec = {
            "store": str(self._store.path.absolute()),
            "runs": [run.id for run in self._chosen.runs],
            "lasts": [run.record.step for run in self._chosen.runs],
            "steps": [list(own) for own in self._chosen.steps],
            "analyses": [
                [each.analysis.name, each.settings.model_dump(mode="json"), vars(each.probing)]
                for each in self._requests
            ],
            "parts": self._parts,
            "path": sys.path,
        }
        for number in range(1, self.processes):
            process = subprocess.Popen(
                [sys.executable, "-m", "ablab.analysis.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                start_new_session=True,  # Ctrl-C reaches only this process
            )
            assert process.stdin is not None, "asked for a pipe"
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(spec | {"number": number}) + "\n")
                process.stdin.flush()
            threading.Thread(target=self._listen, args=(process,), daemon=True).start()
            self._others.append(process)

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None, "asked for a pipe"
        with suppress(ValueError):
            for line in process.stdout:
                with suppress(json.JSONDecodeError):
                    self._events.put(json.loads(line))

    def _end_others(self) -> None:
        for process in self._others:
            process.terminate()  # it saves what it has found
        last = time.monotonic() + _END_SECONDS
        for process in self._others:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, last - time.monotonic()))
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
