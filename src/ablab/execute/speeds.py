"""The speed of this machine: measured seconds per step, and a cost model for unknown steps.

Measurements are stored in one small file per machine and torch version in ``ABLAB_CACHE`` (by
default the user's cache folder). They make later plans more accurate.
"""

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ablab.config.cache import PROGRAMS, cache_folder
from ablab.config.files import WriteError, write_text_atomically
from ablab.execute import measurements
from ablab.execute.accuracy import Kind, correction, factor
from ablab.execute.cost import StepCost
from ablab.execute.cost_model import (
    REFERENCE_SECONDS,
    compile_seconds,
    family,
    step_seconds,
)
from ablab.execute.estimate import Estimate
from ablab.execute.machine import machine_digest
from ablab.execute.measurements import (
    CompileTime,
    EvaluationTime,
    MeasuredStep,
    Measurements,
    add_compiled,
    add_estimate,
    add_evaluation,
    add_ratio,
    add_start,
    add_step,
    locked,
    read_measurements,
)
from ablab.train.method import SOLO, Method

_LOADED = 0.2  # seconds below which a program was not compiled or traced, but loaded
_COMPILE_WARM = 2.5  # seconds to load a program
_WATCHED = 2.0  # how many times as long a step takes with more statistics than by default
_START_SECONDS = 4.0  # of a worker process
# Before a stack's first step and after its last: seconds, and passes per run to verify its method.
_SETUP_SECONDS, _VERIFYING_PASSES = 0.3, 6
_FORWARD = 1 / 3  # the part of a step's cost that an evaluation of as many samples has


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
        self._path = path or cache_folder() / f"speeds-{machine_digest()}.json"
        self._data = read_measurements(self._path)
        self._product_seconds = self._data.get("power")
        self._notes: list[Callable[[Measurements], None]] = []  # not saved yet
        self._slowdowns: dict[tuple[object, ...], float] = {}  # until the measurements change

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
            self._slowdowns.clear()

    def _note(self, note: Callable[[Measurements], None]) -> None:
        """Changes the measurements now, and again on what other processes saved meanwhile."""
        note(self._data)
        self._slowdowns.clear()
        self._notes.append(note)

    def step(self, cost: StepCost, method: Method, threads: int, workers: int) -> float:
        """Estimated seconds per step of one run, from the most similar measurements.

        Args:
            cost: The cost of a step.
            method: The method.
            threads: Threads per process.
            workers: Processes that train at the same time.
        """
        key = _key(cost.key, method, threads, workers)
        known = self._data["steps"].get(key)
        if known is not None:
            more = _WATCHED if self._kind(cost, key) == "watched" else 1.0
            return more * self._trained(known)
        prior = self._prior(cost, method, threads)
        weight, total = 0.5, 0.0  # the cost model counts as half a measurement
        for other in self._data["steps"].values():
            if other["family"] != family(method) or other["threads"] != threads:
                continue
            apart = sum(
                abs(math.log((1 + a) / (1 + b)))
                for a, b in zip(other["counts"], _counts(cost), strict=True)
            )
            near = math.exp(-apart)
            weight += near
            total += near * math.log(self._trained(other) / other["prior"])
        return prior * math.exp(total / weight)

    def _prior(self, cost: StepCost, method: Method, threads: int) -> float:
        """The cost model's seconds per step, with what watching usually adds."""
        return self.model_step(cost, method, threads) * (_WATCHED if cost.watched else 1.0)

    def _trained(self, entry: MeasuredStep) -> float:
        """A step's seconds in training: if it was timed alone, scaled by the slowdown of others."""
        seconds = float(entry["seconds"])
        if not entry.get("timed"):
            return seconds
        alike = entry["family"], entry["threads"], entry["workers"]
        if alike not in self._slowdowns:
            strains = [
                math.log(other["strain"])
                for other in self._data["steps"].values()
                if "strain" in other
                and (other["family"], other["threads"], other["workers"]) == alike
            ]
            self._slowdowns[alike] = math.exp(sum(strains) / (len(strains) + 1))
        return seconds * self._slowdowns[alike]

    def step_factor(self, cost: StepCost, method: Method, threads: int, workers: int) -> float:
        """By which factor :meth:`step` may be wrong in either direction."""
        return self._factor(self._kind(cost, _key(cost.key, method, threads, workers)))

    def _kind(self, cost: StepCost, key: str) -> Kind:
        known = self._data["steps"].get(key)
        if known is not None and not known.get("timed"):
            return "measured"
        if cost.watched:
            return "watched"
        return "model" if known is None else "timed"

    def _ratios(self, kind: Kind) -> list[float]:
        return self._data.get("ratios", {}).get(kind, [])

    def _factor(self, kind: Kind) -> float:
        return factor(kind, self._ratios(kind))

    def _corrected(self, kind: Kind, guess: float) -> Estimate:
        """A guess, corrected by how wrong such guesses were."""
        ratios = self._ratios(kind)
        corrected = correction(ratios)
        return Estimate.within(guess * corrected, factor(kind, ratios, math.log(corrected)))

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
            "prior": self._prior(cost, method, threads),
            "family": family(method),
            "threads": threads,
            "workers": workers,
            "counts": _counts(cost),
        }
        key = _key(cost.key, method, threads, workers)
        if not timed:
            ratio = math.log(seconds / self.step(cost, method, threads, workers))
            self._note(partial(add_ratio, kind=self._kind(cost, key), ratio=ratio))
        self._note(partial(add_step, key=key, entry=entry, timed=timed))

    def compile_seconds(self, cost: StepCost, method: Method) -> float:
        """Estimated seconds to compile a method; few if it was compiled before."""
        if not method.compiled:
            return 0.0
        known = self._data["compiled"]
        if _compiled_key(cost, method) in known:
            return self._corrected("loading", _COMPILE_WARM).seconds
        guess = self._compile_guess(cost, method)
        ratios = [math.log(each["seconds"] / each["guess"]) for each in known.values()]
        return guess * math.exp(sum(ratios) / (len(ratios) + 1))

    def compile_factor(self, cost: StepCost, method: Method) -> float:
        """By which factor :meth:`compile_seconds` may be wrong in either direction."""
        if _compiled_key(cost, method) in self._data["compiled"]:
            loading = self._corrected("loading", _COMPILE_WARM)
            return loading.high / loading.seconds
        return self._factor("compiling")

    def note_compiled(self, cost: StepCost, method: Method, seconds: float) -> None:
        """Records that a method was compiled, and how long the first time took."""
        guess, key = self._compile_guess(cost, method), _compiled_key(cost, method)
        if seconds < _LOADED and key not in self._data["compiled"]:
            return  # this says nothing about compiling
        entry: CompileTime = {"seconds": max(seconds, 0.1), "guess": guess}
        if key in self._data["compiled"]:
            ratio = math.log(entry["seconds"] / _COMPILE_WARM)
            self._note(partial(add_ratio, kind="loading", ratio=ratio))
        else:
            ratio = math.log(entry["seconds"] / max(0.1, self.compile_seconds(cost, method)))
            self._note(partial(add_ratio, kind="compiling", ratio=ratio))
        self._note(partial(add_compiled, key=key, entry=entry))

    def evaluation(
        self, cost: StepCost, samples: int, method: Method, threads: int, workers: int
    ) -> Estimate:
        """Estimated seconds per evaluation of one run.

        Args:
            cost: The cost of a step.
            samples: The number of held-out samples.
            method: The method; the runs of a stack are evaluated eagerly, small ones in one call.
            threads: Threads per process.
            workers: Processes that train at the same time.
        """
        known = self._data.get("evaluations", {})
        entry = known.get(_evaluation_key(cost, samples, method, threads))
        if entry is not None:
            return Estimate.within(entry["seconds"], self._factor("measured"))
        ratios = [math.log(each["seconds"] / each["prior"]) for each in known.values()]
        corrected = correction(ratios)
        guess = self._forward(cost, samples, method, threads, workers)
        spread = factor("evaluation", ratios, math.log(corrected))
        return Estimate.within(guess * corrected, spread)

    def note_evaluation(
        self,
        cost: StepCost,
        samples: int,
        method: Method,
        threads: int,
        workers: int,
        seconds: float,
    ) -> None:
        """Records the seconds per evaluation of one run; see :meth:`evaluation`."""
        if seconds <= 0:
            return
        prior = self._forward(cost, samples, method, threads, workers)
        entry: EvaluationTime = {"seconds": seconds, "prior": prior}
        key = _evaluation_key(cost, samples, method, threads)
        self._note(partial(add_evaluation, key=key, entry=entry))

    def _forward(
        self, cost: StepCost, samples: int, method: Method, threads: int, workers: int
    ) -> float:
        """A forward pass of some samples, and the measures, as parts of an eager step."""
        step = self.step(cost, Method(method.engine), threads, workers)
        return step * _FORWARD * (samples / cost.samples + 1)

    def setup(self, method: Method, width: int, step_seconds: float) -> Estimate:
        """Estimated seconds of a stack before its first step and after its last, without compiling.

        Args:
            method: The method. Unless it trains one run eagerly, it is verified.
            width: The number of runs.
            step_seconds: Seconds per step of one run.
        """
        return self._corrected("setup", self._model_setup(method, width, step_seconds))

    def note_setup(self, method: Method, width: int, step_seconds: float, seconds: float) -> None:
        """Records how long a stack took; see :meth:`setup`."""
        guess = self._model_setup(method, width, step_seconds)
        ratio = math.log(max(0.01, seconds) / guess)
        self._note(partial(add_ratio, kind="setup", ratio=ratio))

    def _model_setup(self, method: Method, width: int, step_seconds: float) -> float:
        passes = 0 if method == SOLO else _VERIFYING_PASSES * width
        return _SETUP_SECONDS * self._slowness() + passes * step_seconds

    def start_seconds(self, workers: int) -> float:
        """Seconds that worker processes take to start; zero for one worker."""
        return float(self._data.get("start", _START_SECONDS)) if workers > 1 else 0.0

    def start(self, workers: int) -> Estimate:
        """:meth:`start_seconds` with its range."""
        return Estimate.within(self.start_seconds(workers), self._factor("setup"))

    def note_start(self, seconds: float) -> None:
        """Records how long worker processes took to start."""
        self._note(partial(add_start, seconds=seconds))

    def note_estimate(
        self, name: str, estimated: float, measured: float, ends: tuple[float, float] | None = None
    ) -> None:
        """Records the estimated and the measured seconds of an experiment.

        Args:
            name: The experiment's name.
            estimated: The estimated seconds.
            measured: The measured seconds.
            ends: The ends of the estimated range.
        """
        entry: measurements.Estimate = {"name": name, "estimated": estimated, "measured": measured}
        if ends is not None:
            entry |= {"low": ends[0], "high": ends[1]}
        self._note(partial(add_estimate, entry=entry))

    @property
    def estimates(self) -> list[dict[str, Any]]:
        """The latest estimates, oldest first: ``name``, ``estimated`` and ``measured`` seconds.

        Those of this release have ``low`` and ``high`` as well, the ends of the range.
        """
        return [dict(each) for each in self._data["estimates"]]

    def model_step(self, cost: StepCost, method: Method, threads: int) -> float:
        """Seconds per step by the cost model alone."""
        return step_seconds(cost, method, threads) * self._slowness()

    def _compile_guess(self, cost: StepCost, method: Method) -> float:
        return compile_seconds(cost, method) * self._slowness()

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
            self._product_seconds = min(times)  # the others may have waited for another process
        return self._product_seconds / REFERENCE_SECONDS


def _counts(cost: StepCost) -> list[float]:
    return [cost.kernel_launches, cost.activation_bytes, cost.flops, cost.attention_flops]


def _key(cost_key: str, method: Method, threads: int, workers: int) -> str:
    return f"{cost_key} | {method.title} | {threads} threads | {workers} workers"


def _evaluation_key(cost: StepCost, samples: int, method: Method, threads: int) -> str:
    return f"{cost.key} | {method.engine} | {samples} samples | {threads} threads"


def _compiled_key(cost: StepCost, method: Method) -> str:
    return f"{cost.key} | {method.title}"
