"""How fast this machine trains: a model of a step's time, and what was measured here before.

Measurements are kept in one small file for each machine and torch version, under ``ABLAB_CACHE``
(by default the user's cache folder), and sharpen every later plan.
"""

import hashlib
import json
import math
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ablab.config.cache import PROGRAMS, cache_folder
from ablab.config.files import WriteError, write_text_atomically
from ablab.execute.cost import StepCost
from ablab.execute.options import cpu_count
from ablab.train.method import Method

# Seconds of a step, measured on one core that multiplies 512 × 512 matrices in _REFERENCE seconds
# (docs/decisions/0006): a launch; a byte kept for the gradient; an operation in products with
# parameters; one in products of activations.
_REFERENCE = 2.6e-3
_EAGER = (2.5e-5, 5e-10, 1.25e-11, 1e-10)
_USUAL = (4e-6, 1.7e-10, 1.25e-11, 5e-11)
_INNERMOST = (2e-6, 2e-10, 1.25e-11, 1.25e-10)
_THREADS_GAIN = 0.55  # of a second thread, in work that is wide enough for it
_COMPILE_PER_LAUNCH, _COMPILE_WARM = 0.11, 2.5  # seconds
_START_SECONDS = 4.0  # of a worker process
_KEPT_ESTIMATES = 50
_STEP = 2  # counts up when steps of the same shape take another time than before


def persist_compiled_programs() -> None:
    """Has torch keep compiled programs between commands, where the user has not said where."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / PROGRAMS))


class Speeds:
    """What is known of this machine's speed.

    Args:
        path: The file; by default this machine's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_folder() / f"speeds-{_machine()}.json"
        self._data: dict[str, Any] = {"steps": {}, "compiled": {}, "estimates": []}
        with suppress(OSError, ValueError):  # none yet, or damaged: then it is measured again
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(found, dict) and self._data.keys() <= found.keys():
                self._data = found
        self._power: float | None = self._data.get("power")

    def save(self) -> None:
        """Writes what was learnt; a folder that cannot be written to is passed over."""
        self._data["power"] = self._power
        with suppress(WriteError):
            write_text_atomically(self._path, json.dumps(self._data))

    def step(self, cost: StepCost, method: Method, threads: int, workers: int) -> float:
        """Seconds of one step of one run, from what was measured nearest to it.

        Args:
            cost: The run's counts.
            method: The method.
            threads: Threads of the process.
            workers: Processes at work at once.
        """
        known = self._data["steps"].get(_key(cost.key, method, threads, workers))
        if known is not None:
            return self._trained(known)
        prior = self.model_step(cost, method, threads)
        weight, total = 0.5, 0.0  # the model itself counts as half a measurement
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

    def _trained(self, entry: dict[str, Any]) -> float:
        """A step's seconds in training; one that was timed alone takes as much longer as others."""
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
        """Whether just this was measured before."""
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
        """Remembers the seconds of one step of one run.

        Args:
            cost: The run's counts.
            method: The method.
            threads: Threads of the process.
            workers: Processes at work at once.
            seconds: Seconds of one step of one run.
            timed: Whether it was a few steps alone, with nothing kept and no other process at
                work: in training a step takes longer. How much longer is learnt where both are
                known.
        """
        if seconds <= 0:
            return
        key = _key(cost.key, method, threads, workers)
        before = self._data["steps"].get(key) or {}
        entry = {
            "seconds": seconds,
            "prior": self.model_step(cost, method, threads),
            "family": _family(method),
            "threads": threads,
            "workers": workers,
            "counts": _counts(cost),
        }
        if timed:
            entry["timed"] = True
        elif before.get("timed"):
            entry["strain"] = seconds / before["seconds"]
        elif before:  # machines are noisy: half the weight to the past
            entry["seconds"] = math.sqrt(seconds * before["seconds"])
            if "strain" in before:
                entry["strain"] = before["strain"]
        self._data["steps"][key] = entry

    def compile_seconds(self, cost: StepCost, method: Method) -> float:
        """Seconds that compiling a method takes, little where it was done before."""
        if not method.compiled:
            return 0.0
        known = self._data["compiled"]
        if _compiled_key(cost, method) in known:
            return _COMPILE_WARM
        guess = _COMPILE_PER_LAUNCH * cost.kernel_launches
        ratios = [math.log(each["seconds"] / each["guess"]) for each in known.values()]
        return guess * math.exp(sum(ratios) / (len(ratios) + 1))

    def note_compiled(self, cost: StepCost, method: Method, seconds: float) -> None:
        """Remembers that a method was compiled, and how long that took the first time."""
        guess = _COMPILE_PER_LAUNCH * cost.kernel_launches
        entry = {"seconds": max(seconds, 0.1), "guess": guess}
        self._data["compiled"].setdefault(_compiled_key(cost, method), entry)

    def start_seconds(self, workers: int) -> float:
        """Seconds until processes train, once they are started; none for this one alone."""
        return float(self._data.get("start", _START_SECONDS)) if workers > 1 else 0.0

    def note_start(self, seconds: float) -> None:
        """Remembers how long worker processes took to start."""
        self._data["start"] = seconds

    def note_estimate(self, name: str, estimated: float, measured: float) -> None:
        """Remembers how an experiment's time was foreseen and what it came to."""
        entry = {"name": name, "estimated": estimated, "measured": measured}
        self._data["estimates"] = [*self._data["estimates"], entry][-_KEPT_ESTIMATES:]

    @property
    def estimates(self) -> list[dict[str, Any]]:
        """The last estimates beside what was measured, oldest first: name, estimated, measured."""
        return list(self._data["estimates"])

    def model_step(self, cost: StepCost, method: Method, threads: int) -> float:
        """Seconds of a step by the model alone: launches, bytes, arithmetic, each at its price."""
        launch, byte, operation, mixing = {
            "eager": _EAGER, "usual": _USUAL, "innermost": _INNERMOST
        }[_family(method)]  # fmt: skip
        parts = cost.samples / (method.samples or cost.samples)
        launches = cost.kernel_launches * parts
        if method.vmapped and not method.compiled:
            launches /= 4  # runs of a stack share them, though vmap's own are dearer
        work = cost.activation_bytes * byte + cost.flops * operation + cost.attention_flops * mixing
        gain = 1 + _THREADS_GAIN * (threads - 1)
        return (launches * launch + work / gain) * self._slowness()

    def _slowness(self) -> float:
        """This machine's core beside the reference, by one product of matrices."""
        if self._power is None:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            x = torch.ones(512, 512)
            times = []
            for _ in range(7):
                began = time.perf_counter()
                x @ x
                times.append(time.perf_counter() - began)
            torch.set_num_threads(threads)
            self._power = sorted(times)[3]
        return self._power / _REFERENCE


def _family(method: Method) -> str:
    return method.layout if method.compiled else "eager"


def _counts(cost: StepCost) -> list[float]:
    return [cost.kernel_launches, cost.activation_bytes, cost.flops, cost.attention_flops]


def _key(cost_key: str, method: Method, threads: int, workers: int) -> str:
    return f"{cost_key} | {method.title} | {threads} threads | {workers} workers"


def _compiled_key(cost: StepCost, method: Method) -> str:
    return f"{cost.key} | {method.title}"


def _machine() -> str:
    """A short digest of what decides speed: processor, its count, torch's version, ablab's step."""
    processor = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    parts = [platform.node(), processor, str(cpu_count()), torch.__version__, gpu, str(_STEP)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
