"""The speed of this machine: measured seconds per step, and a cost model for unknown steps.

Measurements are stored in one small file per machine and torch version in ``ABLAB_CACHE`` (by
default the user's cache folder). They make later plans more accurate.
"""

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ablab.config.cache import PROGRAMS, cache_folder
from ablab.config.files import WriteError, write_text_atomically
from ablab.execute.cost import StepCost
from ablab.execute.measurements import (
    CompileTime,
    Estimate,
    MeasuredStep,
    Measurements,
    add_compiled,
    add_estimate,
    add_start,
    add_step,
    locked,
    read_measurements,
)
from ablab.execute.options import cpu_count
from ablab.train.method import Method

# Seconds of a step, measured on one core that multiplies 512 × 512 matrices in _REFERENCE seconds
# (docs/decisions/0006): per kernel launch, per byte of activation memory, per operation in products
# with parameters, and per operation in products of activations.
_REFERENCE = 2.6e-3
_EAGER = (2.5e-5, 5e-10, 1.25e-11, 1e-10)
_USUAL = (4e-6, 1.7e-10, 1.25e-11, 5e-11)
_INNERMOST = (2e-6, 2e-10, 1.25e-11, 1.25e-10)
_THREADS_GAIN = 0.55  # the speedup from each further thread, except for launches
_COMPILE_PER_LAUNCH, _COMPILE_WARM = 0.11, 2.5  # seconds
_START_SECONDS = 4.0  # of a worker process
_STEP_VERSION = 2  # increment it if a change of ablab makes steps faster or slower


def persist_compiled_programs() -> None:
    """Stores compiled programs in ablab's cache, unless ``TORCHINDUCTOR_CACHE_DIR`` is set."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / PROGRAMS))


class Speeds:
    """The known speeds of this machine.

    Several processes may measure at the same time: what one of them notes is added to what the
    file has when it is saved, under a lock.

    Args:
        path: The file with measurements; by default that of this machine.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_folder() / f"speeds-{_machine()}.json"
        self._data = read_measurements(self._path)
        self._product_seconds = self._data.get("power")
        self._notes: list[Callable[[Measurements], None]] = []  # not saved yet

    def save(self) -> None:
        """Writes the measurements; does nothing if the folder is not writable."""
        with suppress(WriteError, OSError), locked(self._path):
            data = read_measurements(self._path)
            for note in self._notes:
                note(data)
            if self._product_seconds is not None:
                data["power"] = self._product_seconds
            write_text_atomically(self._path, json.dumps(data))
            self._data, self._notes = data, []

    def _note(self, note: Callable[[Measurements], None]) -> None:
        """Changes the measurements now, and again on what other processes saved meanwhile."""
        note(self._data)
        self._notes.append(note)

    def step(self, cost: StepCost, method: Method, threads: int, workers: int) -> float:
        """Estimated seconds per step of one run, from the most similar measurements.

        Args:
            cost: The cost of a step.
            method: The method.
            threads: Threads per process.
            workers: Processes that train at the same time.
        """
        known = self._data["steps"].get(_key(cost.key, method, threads, workers))
        if known is not None:
            return self._trained(known)
        prior = self.model_step(cost, method, threads)
        weight, total = 0.5, 0.0  # the cost model counts as half a measurement
        for other in self._data["steps"].values():
            if other["family"] != _family(method) or other["threads"] != threads:
                continue
            apart = sum(
                abs(math.log((1 + a) / (1 + b)))
                for a, b in zip(other["counts"], _counts(cost), strict=True)
            )
            near = math.exp(-apart)
            weight += near
            total += near * math.log(self._trained(other) / other["prior"])
        return prior * math.exp(total / weight)

    def _trained(self, entry: MeasuredStep) -> float:
        """A step's seconds in training: if it was timed alone, scaled by the slowdown of others."""
        seconds = float(entry["seconds"])
        if not entry.get("timed"):
            return seconds
        strains = [
            math.log(other["strain"])
            for other in self._data["steps"].values()
            if "strain" in other
            and all(other[name] == entry[name] for name in ("family", "threads", "workers"))
        ]
        return seconds * math.exp(sum(strains) / (len(strains) + 1))

    def knows(self, cost: StepCost, method: Method, threads: int, workers: int) -> bool:
        """Whether this combination has been measured."""
        return _key(cost.key, method, threads, workers) in self._data["steps"]

    def note_step(
        self,
        cost: StepCost,
        method: Method,
        threads: int,
        workers: int,
        seconds: float,
        *,
        timed: bool = False,
    ) -> None:
        """Records the seconds per step of one run.

        Args:
            cost: The cost of a step.
            method: The method.
            threads: Threads per process.
            workers: Processes that train at the same time.
            seconds: Seconds per step of one run.
            timed: Whether a few steps were timed alone, without checkpoints or other processes.
                In training a step takes longer; the slowdown is learned from combinations for
                which both times are known.
        """
        if seconds <= 0:
            return
        entry: MeasuredStep = {
            "seconds": seconds,
            "prior": self.model_step(cost, method, threads),
            "family": _family(method),
            "threads": threads,
            "workers": workers,
            "counts": _counts(cost),
        }
        key = _key(cost.key, method, threads, workers)
        self._note(partial(add_step, key=key, entry=entry, timed=timed))

    def compile_seconds(self, cost: StepCost, method: Method) -> float:
        """Estimated seconds to compile a method; few if it was compiled before."""
        if not method.compiled:
            return 0.0
        known = self._data["compiled"]
        if _compiled_key(cost, method) in known:
            return _COMPILE_WARM
        guess = _COMPILE_PER_LAUNCH * cost.kernel_launches
        ratios = [math.log(each["seconds"] / each["guess"]) for each in known.values()]
        return guess * math.exp(sum(ratios) / (len(ratios) + 1))

    def note_compiled(self, cost: StepCost, method: Method, seconds: float) -> None:
        """Records that a method was compiled, and how long the first time took."""
        guess = _COMPILE_PER_LAUNCH * cost.kernel_launches
        entry: CompileTime = {"seconds": max(seconds, 0.1), "guess": guess}
        key = _compiled_key(cost, method)
        self._note(partial(add_compiled, key=key, entry=entry))

    def start_seconds(self, workers: int) -> float:
        """Seconds that worker processes take to start; zero for one worker."""
        return float(self._data.get("start", _START_SECONDS)) if workers > 1 else 0.0

    def note_start(self, seconds: float) -> None:
        """Records how long worker processes took to start."""
        self._note(partial(add_start, seconds=seconds))

    def note_estimate(self, name: str, estimated: float, measured: float) -> None:
        """Records the estimated and the measured seconds of an experiment."""
        entry: Estimate = {"name": name, "estimated": estimated, "measured": measured}
        self._note(partial(add_estimate, entry=entry))

    @property
    def estimates(self) -> list[dict[str, Any]]:
        """The latest estimates, oldest first: ``name``, ``estimated`` and ``measured`` seconds."""
        return [dict(each) for each in self._data["estimates"]]

    def model_step(self, cost: StepCost, method: Method, threads: int) -> float:
        """Seconds per step by the cost model alone: a sum over launches, bytes and arithmetic."""
        launch, byte, operation, product = {
            "eager": _EAGER, "usual": _USUAL, "innermost": _INNERMOST
        }[_family(method)]  # fmt: skip
        parts = cost.samples / (method.samples or cost.samples)
        launches = cost.kernel_launches * parts
        if method.vmapped and not method.compiled:
            launches /= 4  # the runs of a stack share launches, though those of vmap cost more
        work = (
            cost.activation_bytes * byte + cost.flops * operation + cost.attention_flops * product
        )
        gain = 1 + _THREADS_GAIN * (threads - 1)
        return (launches * launch + work / gain) * self._slowness()

    def _slowness(self) -> float:
        """How much slower a core of this machine is than the reference, by a matrix product."""
        if self._product_seconds is None:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            x = torch.ones(512, 512)
            times = []
            for _ in range(7):
                began = time.perf_counter()
                x @ x
                times.append(time.perf_counter() - began)
            torch.set_num_threads(threads)
            self._product_seconds = sorted(times)[3]
        return self._product_seconds / _REFERENCE


def _family(method: Method) -> str:
    return method.layout if method.compiled else "eager"


def _counts(cost: StepCost) -> list[float]:
    return [cost.kernel_launches, cost.activation_bytes, cost.flops, cost.attention_flops]


def _key(cost_key: str, method: Method, threads: int, workers: int) -> str:
    return f"{cost_key} | {method.title} | {threads} threads | {workers} workers"


def _compiled_key(cost: StepCost, method: Method) -> str:
    return f"{cost.key} | {method.title}"


def _machine() -> str:
    """A short digest of what determines speed: host, processor, cores, GPU and torch version."""
    processor = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    parts = [
        platform.node(),
        processor,
        str(cpu_count()),
        torch.__version__,
        gpu,
        str(_STEP_VERSION),
    ]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
