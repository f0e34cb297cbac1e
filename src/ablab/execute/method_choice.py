"""Choosing the method that trains a group of runs of equal shape."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ablab.execute.cost import StepCost
from ablab.execute.options import Options
from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, STACK, Method
from ablab.train.run import Run
from ablab.train.stack import Stack

MAX_WIDTH = 8  # of a stack on a CPU, which a wider one gains nothing more from
_MAX_WIDTH_GPU = 512
# Up to this length the batch is the longer axis of the two, and vector lanes over it pay; up to the
# second, a compiled program is faster with attention by plain products (eager ones never are).
_INNERMOST_TOKENS, _PLAIN_TOKENS = 32, 128
_INNERMOST_SAMPLES = 32  # and more, so that lanes are full
# A call's tensors should stay in a core's cache: so many bytes kept for the gradient are left in
# one piece, and larger batches are cut into parts of about so many tokens.
_WHOLE_BYTES, _PART_TOKENS = 6 * 2**20, 2048
_SMALL_SECONDS = 5.0  # up to which a group is not worth timing, and its method hangs on no timing
_DOUBT = 0.95  # what was not measured must promise to take less than this share of solo's time


@dataclass(frozen=True)
class Alternative:
    """A method that a group could be trained by, with its estimated cost.

    Attributes:
        method: The method.
        width: Runs per stack.
        processes: How many processes train the group's stacks at most; each compiles for itself.
        step_seconds: Seconds per step of one run.
        compile_seconds: Seconds of compiling, in each process.
        measured: Whether the step was timed on this machine, now or before.
        model_seconds: Seconds per step by the cost model alone, whatever was measured.
    """

    method: Method
    width: int
    processes: int
    step_seconds: float
    compile_seconds: float
    measured: bool
    model_seconds: float

    def seconds(self, run_steps: int) -> float:
        """Seconds for all of the group's steps, summed over processes."""
        return self.step_seconds * run_steps + self.compile_seconds * self.processes


@dataclass(frozen=True)
class Group:
    """Runs of equal shape.

    Attributes:
        runs: The runs.
        cost: The cost of one step; the error in one line where a step raises.
        left: Steps left, by run.
    """

    runs: tuple[Run, ...]
    cost: StepCost | str
    left: tuple[int, ...]

    @property
    def run_steps(self) -> int:
        """Steps left, all runs together."""
        return sum(self.left)


@dataclass(frozen=True)
class Choice:
    """How a group is trained.

    Attributes:
        best: The chosen alternative; None where the group's step raises.
        fallback: The eager method to fall back to where the chosen one is compiled.
        others: The other methods' titles, with the seconds that they would take.
        why: The reason, in a few words.
    """

    best: Alternative | None
    fallback: Method | None
    others: tuple[tuple[str, float], ...]
    why: str


@dataclass(frozen=True)
class MethodChooser:
    """Chooses methods for the groups of one plan.

    Attributes:
        options: The user's options.
        device: Where runs train.
        memory: Bytes that a stack may use.
        speeds: What is known of this machine; new timings are recorded in it.
        threads: Threads per process.
        workers: Processes at work at once.
        groups: How many groups the plan has.
        deadline: No timing is begun after this time (``time.perf_counter``).
    """

    options: Options
    device: torch.device
    memory: float
    speeds: Speeds
    threads: int
    workers: int
    groups: int
    deadline: float

    def choose(self, group: Group) -> Choice:
        """Chooses the cheapest method of a group."""
        if isinstance(group.cost, str):  # training it stores the whole error with the run
            return Choice(None, None, (), f"its step raises {group.cost}")
        found, run_steps = self._alternatives(group, group.cost), group.run_steps
        best, fallback = cheapest(found, run_steps)
        others = tuple(
            (other.method.title, other.seconds(run_steps) / other.processes)
            for other in sorted(found, key=lambda other: other.seconds(run_steps))
            if other is not best
        )
        why = self._why(best, found, group)
        return Choice(best, None if fallback is None else fallback.method, others, why)

    def _alternatives(self, group: Group, cost: StepCost) -> list[Alternative]:
        """Every method that fits, with its cost; eager ones are timed where that is worth it."""
        found = []
        runs, speeds, threads, workers = group.runs, self.speeds, self.threads, self.workers
        worth = speeds.model_step(cost, SOLO, threads) * group.run_steps > _SMALL_SECONDS
        for method in _methods(len(runs), cost, self.options, self.device):
            width = _width(len(runs), cost, method, self.device, self.memory)
            if self.options.engine == "auto" and method.engine == "stack" and width == 1:
                continue  # alone in its stack, a run is trained solo
            known = speeds.knows(cost, method, threads, workers)
            if worth and not known and not method.compiled and time.perf_counter() < self.deadline:
                seconds = _timed(runs[:width], method, self.device)
                if not seconds and method.vmapped:
                    continue  # some operations, such as a recurrent layer's, do not run under vmap
                if seconds:
                    speeds.note_step(cost, method, threads, workers, seconds, timed=True)
                    known = True
            if method.engine == "stack":  # enough stacks to keep all processes busy
                busy = math.ceil(len(runs) / math.ceil(workers / self.groups))
                width = _evenly(len(runs), max(1, min(width, busy)))
            found.append(
                Alternative(
                    method,
                    width,
                    min(workers, math.ceil(len(runs) / width)),
                    speeds.step(cost, method, threads, workers),
                    speeds.compile_seconds(cost, method),
                    known,
                    speeds.model_step(cost, method, threads),
                )
            )
        return found

    def _why(self, best: Alternative, found: Sequence[Alternative], group: Group) -> str:
        """The reason for a choice, in a few words."""
        equal, run_steps = len(group.runs), group.run_steps
        if len(found) == 1:
            return "asked for" if self.options.engine != "auto" or equal > 1 else "a single run"
        if not run_steps:
            return "trained already"
        others = (each for each in found if each is not best)
        next_best = min(others, key=lambda each: each.seconds(run_steps))
        gain = next_best.seconds(run_steps) / best.seconds(run_steps)
        source = "measured" if best.measured else "estimated"
        if gain < 1:  # a little slower on paper, and chosen all the same
            return "few steps" if next_best.measured else f"{next_best.method.title} is untried"
        return f"{gain:.2f}× the speed of {next_best.method.title}, {source}"


def cheapest(
    found: Sequence[Alternative], run_steps: int
) -> tuple[Alternative, Alternative | None]:
    """The cheapest alternative, and the eager one to fall back to where it is compiled.

    In doubt, where nothing was measured and little is to be gained, it is solo. A group that is
    done in seconds is decided by the cost model, so that it is trained the same way when asked
    again.
    """
    eager = [each for each in found if not each.method.compiled]
    reference = next((each for each in eager if each.method == SOLO), None)
    if reference is not None and reference.model_seconds * run_steps <= _SMALL_SECONDS:
        return min(eager, key=lambda each: each.model_seconds), None

    def cost(each: Alternative) -> float:
        doubt = 1.0 if each.measured or each.method.engine == "solo" else 1 / _DOUBT
        return each.seconds(run_steps) * doubt

    best = min(found, key=cost)
    fallback = min(eager, key=cost) if best.method.compiled and eager else None
    return best, fallback


def _methods(runs: int, cost: StepCost, options: Options, device: torch.device) -> list[Method]:
    """The methods that the user's choices and the shape leave."""
    on_cpu = device.type == "cpu"
    engines: list[Method] = []
    if options.engine in ("auto", "solo") and (options.engine == "solo" or runs == 1 or on_cpu):
        engines.append(SOLO)
    if options.engine == "stack" or (options.engine == "auto" and runs > 1):
        engines.append(STACK)
    methods: list[Method] = []
    for base in engines:
        if options.compiling != "on":
            methods.append(base)
        if options.compiling != "off" and (base is engines[-1]):
            methods += _compiled(base, cost, on_cpu)
    return methods


def _compiled(base: Method, cost: StepCost, on_cpu: bool) -> list[Method]:
    """Compiled methods: on a CPU run by run, in parts that stay in its cache."""
    if not on_cpu:
        return [replace(base, compiled=True)]
    method = replace(base, compiled=True, rows=1 if base.engine == "stack" else None)
    if (
        not cost.mixes_samples
        and cost.tokens <= _INNERMOST_TOKENS
        and cost.samples >= _INNERMOST_SAMPLES
    ):
        parts = _part(cost, _INNERMOST_SAMPLES)
        return [replace(method, layout="innermost", attention="plain", samples=parts)]
    attention: Literal["plain", "fused"] = "plain" if cost.tokens <= _PLAIN_TOKENS else "fused"
    return [replace(method, attention=attention, samples=_part(cost, 1))]


def _part(cost: StepCost, least: int) -> int | None:
    """The largest even part of a batch of about ``_PART_TOKENS`` tokens; None for all of it."""
    if cost.mixes_samples or cost.activation_bytes <= _WHOLE_BYTES:
        return None
    fitting = max(least, _PART_TOKENS // cost.tokens)
    sizes = [n for n in range(least, min(fitting, cost.samples) + 1) if cost.samples % n == 0]
    return max(sizes) if sizes and max(sizes) < cost.samples else None


def _width(runs: int, cost: StepCost, method: Method, device: torch.device, memory: float) -> int:
    """How many runs a stack has: as many as fit, cut evenly."""
    if method.engine == "solo":
        return 1
    most = MAX_WIDTH if device.type == "cpu" else _MAX_WIDTH_GPU
    fitting = 1
    while fitting < min(most, runs) and cost.bytes(fitting + 1, method) <= memory:
        fitting += 1
    return _evenly(runs, fitting)


def _evenly(runs: int, width: int) -> int:
    """The width of stacks of about the same size, of so many runs at most."""
    return math.ceil(runs / math.ceil(runs / width))


def _timed(runs: Sequence[Run], method: Method, device: torch.device) -> float:
    """Seconds of a step of one run; zero where it raises, which is found again in training."""
    try:
        stack = Stack(runs[:1] if method.engine == "solo" else runs, None, device, method)
        stack.advance(1)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            stack.advance(1)
            times.append((time.perf_counter() - began) / len(stack.runs))
    except (Exception, SystemExit):
        return 0.0
    return sorted(times)[1]
