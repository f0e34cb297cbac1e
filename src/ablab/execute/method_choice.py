"""Which method trains a group of runs of equal shape: what there is, and what each costs."""

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
    """A method that a group could be trained by.

    Attributes:
        method: The method.
        width: How many runs a stack has.
        processes: How many processes at most train the group's stacks, each with its own program.
        step_seconds: Seconds of one step of one run.
        compile_seconds: Seconds that compiling takes, in each process.
        measured: Whether the step was timed on this machine, now or before.
        model_seconds: What the cost model alone says of a step, whatever was measured.
    """

    method: Method
    width: int
    processes: int
    step_seconds: float
    compile_seconds: float
    measured: bool
    model_seconds: float

    def seconds(self, run_steps: int) -> float:
        """Seconds for all of the group's steps, of all processes together."""
        return self.step_seconds * run_steps + self.compile_seconds * self.processes


def alternatives(
    group: Sequence[Run],
    cost: StepCost,
    options: Options,
    device: torch.device,
    memory: float,
    *,
    speeds: Speeds,
    threads: int,
    workers: int,
    groups: int,
    run_steps: int,
    deadline: float,
) -> list[Alternative]:
    """Every method that fits, with its estimated cost; eager ones are timed where that is worth it.

    Args:
        group: Runs of equal shape.
        cost: Their counts.
        options: The user's choices.
        device: Where they are trained.
        memory: Bytes that a stack may take.
        speeds: What is known of this machine.
        threads: Threads of a process.
        workers: Processes at work at once.
        groups: How many groups there are.
        run_steps: Steps left, all runs together.
        deadline: The time (``time.perf_counter``) at which no more timings are begun.
    """
    found = []
    worth = speeds.model_step(cost, SOLO, threads) * run_steps > _SMALL_SECONDS
    for method in _methods(len(group), cost, options, device):
        width = _width(len(group), cost, method, device, memory)
        engine = options.engine
        if engine == "auto" and method.engine == "stack" and width == 1:
            continue  # alone in its stack, a run is trained solo
        known = speeds.knows(cost, method, threads, workers)
        if worth and not known and not method.compiled and time.perf_counter() < deadline:
            seconds = _timed(group[:width], method, device)
            if not seconds and method.vmapped:
                continue  # some operations, a recurrent layer's say, run for one model at a time
            if seconds:
                speeds.note_step(cost, method, threads, workers, seconds, timed=True)
                known = True
        if method.engine == "stack":  # as many stacks as keep all processes at work
            share = math.ceil(len(group) / math.ceil(workers / groups))
            width = _evenly(len(group), max(1, min(width, share)))
        found.append(
            Alternative(
                method,
                width,
                min(workers, math.ceil(len(group) / width)),
                speeds.step(cost, method, threads, workers),
                speeds.compile_seconds(cost, method),
                known,
                speeds.model_step(cost, method, threads),
            )
        )
    return found


def choose(found: Sequence[Alternative], run_steps: int) -> tuple[Alternative, Alternative | None]:
    """The cheapest alternative, and the eager one to fall back to where it is compiled.

    In doubt, that is where nothing was measured and little is promised, it is solo. A group that is
    done in seconds is left to the model, so that asked again it is trained the same way.
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
