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

STATEFUL = "the model carries state from one pass to the next"
MAX_WIDTH = 8  # runs per stack on a CPU, where wider stacks are no faster
_MAX_WIDTH_GPU = 512
# With at most this many tokens, the batch is the longer axis and vector lanes over samples pay off.
_INNERMOST_TOKENS = 32
_INNERMOST_SAMPLES = 32  # or more, to fill the vector lanes
# With at most this many tokens, plain attention is faster in a compiled program (never in eager).
_PLAIN_TOKENS = 128
# The tensors of a call should fit in a core's cache. A batch with more activation memory than this
# is split into parts of about this many tokens.
_UNSPLIT_BYTES, _PART_TOKENS = 6 * 2**20, 2048
_SMALL_SECONDS = 5.0  # a group that takes less is not timed, so its method depends on no timing
# Runs that go on keep their method, which makes them equal bit for bit, up to this cost.
_SAME_FACTOR, _SAME_SECONDS = 2.0, 10.0
_DOUBT = 0.95  # an unmeasured method must be estimated to take less than this fraction of solo's


@dataclass(frozen=True)
class Alternative:
    """A method that a group could be trained by, with its estimated cost.

    Attributes:
        method: The method.
        width: Runs per stack.
        processes: The largest number of processes that train the group's stacks; each one compiles.
        step_seconds: Seconds per step of one run.
        compile_seconds: Seconds that each process spends compiling.
        measured: Whether the step has been timed on this machine.
        model_seconds: Seconds per step by the cost model alone, ignoring measurements.
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
        cost: The cost of one step, or the error in one line if a step raises.
        left: Steps left to train, one number per run.
        before: The method that trained the unfinished ones among them so far, if it was one and
            the same.
    """

    runs: tuple[Run, ...]
    cost: StepCost | str
    left: tuple[int, ...]
    before: Method | None = None

    @property
    def run_steps(self) -> int:
        """Steps left, all runs together."""
        return sum(self.left)


@dataclass(frozen=True)
class Choice:
    """How a group is trained.

    Attributes:
        best: The chosen alternative; None if the group's step raises.
        fallback: The eager method to fall back to if the chosen one is compiled; else None.
        others: The titles of the other methods, with the seconds that they would take.
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
        speeds: The known speeds of this machine; new timings are recorded in it.
        threads: Threads per process.
        workers: Processes that train at the same time.
        groups: How many groups the plan has.
        deadline: No timing starts after this time (``time.perf_counter``).
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
        if isinstance(group.cost, str):  # training stores the complete error with the run
            return Choice(None, None, (), f"its step raises {group.cost}")
        found, run_steps = self._alternatives(group, group.cost), group.run_steps
        best, fallback = cheapest(found, run_steps)
        same = self._same_method(group, found, best)
        if same is not None:
            best = same
            eager = [each for each in found if not each.method.compiled]
            fallback = cheapest(eager, run_steps)[0] if same.method.compiled and eager else None
        others = tuple(
            (other.method.title, other.seconds(run_steps) / other.processes)
            for other in sorted(found, key=lambda other: other.seconds(run_steps))
            if other is not best
        )
        why = "continues as it began" if same is not None else self._why(best, found, group)
        return Choice(best, None if fallback is None else fallback.method, others, why)

    def _same_method(
        self, group: Group, found: Sequence[Alternative], best: Alternative
    ) -> Alternative | None:
        """The method that a group's runs have been trained by, unless another is far faster."""
        same = next((each for each in found if each.method == group.before), None)
        if same is None or same is best:
            return None
        seconds, least = same.seconds(group.run_steps), best.seconds(group.run_steps)
        return same if seconds <= _SAME_FACTOR * least + _SAME_SECONDS else None

    def _alternatives(self, group: Group, cost: StepCost) -> list[Alternative]:
        """All methods that can train a group, with their cost; times eager ones if it pays off."""
        found = []
        runs, speeds, threads, workers = group.runs, self.speeds, self.threads, self.workers
        worth_timing = speeds.model_step(cost, SOLO, threads) * group.run_steps > _SMALL_SECONDS
        for method in _methods(len(runs), cost, self.options, self.device):
            width = _width(len(runs), cost, method, self.device, self.memory)
            if self.options.engine == "auto" and method.engine == "stack" and width == 1:
                continue  # a run alone in its stack is trained solo
            known = speeds.knows(cost, method, threads, workers)
            in_time = time.perf_counter() < self.deadline
            if worth_timing and in_time and not known and not method.compiled:
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
        """The reason for the choice, in a few words."""
        equal, run_steps = len(group.runs), group.run_steps
        if isinstance(group.cost, StepCost) and group.cost.stateful:
            return STATEFUL
        if len(found) == 1:
            return "as requested" if self.options.engine != "auto" or equal > 1 else "a single run"
        if not run_steps:
            return "already trained"
        others = (each for each in found if each is not best)
        next_best = min(others, key=lambda each: each.seconds(run_steps))
        gain = next_best.seconds(run_steps) / best.seconds(run_steps)
        source = "measured" if best.measured else "estimated"
        if gain < 1:  # the other one is faster by estimates alone, and not by much
            title = next_best.method.title
            return "few steps" if next_best.measured else f"{title} has not been measured"
        return f"{gain:.2f}× the speed of {next_best.method.title}, {source}"


def cheapest(
    found: Sequence[Alternative], run_steps: int
) -> tuple[Alternative, Alternative | None]:
    """The cheapest alternative, and the eager fallback if that one is compiled.

    If nothing was measured and the gain is small, solo is chosen. For a group that takes only
    seconds the cost model decides, so that repeating the command always trains in the same way.
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
    """The methods that the options and the group's shape allow."""
    on_cpu = device.type == "cpu"
    if cost.stateful:
        return [SOLO]
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


def possible_methods(cost: StepCost, device: torch.device) -> list[Method]:
    """The methods that a plan may choose for one run or several, whatever the options; not solo.

    One run calls the same compiled program as a stack that calls it run by run, so it is left out.
    """
    found: dict[Method, None] = {}
    for count in (2, 1):
        for method in _methods(count, cost, Options(), device):
            as_stack = replace(method, engine="stack", rows=1)
            if method != SOLO and as_stack not in found:
                found[method] = None
    return list(found)


def _compiled(base: Method, cost: StepCost, on_cpu: bool) -> list[Method]:
    """Compiled methods; on a CPU one run at a time, in parts that fit in its cache."""
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
    """Samples per part, for equal parts of about ``_PART_TOKENS`` tokens; None for no split."""
    if cost.mixes_samples or cost.activation_bytes <= _UNSPLIT_BYTES:
        return None
    fitting = max(least, _PART_TOKENS // cost.tokens)
    sizes = [n for n in range(least, min(fitting, cost.samples) + 1) if cost.samples % n == 0]
    return max(sizes) if sizes and max(sizes) < cost.samples else None


def _width(runs: int, cost: StepCost, method: Method, device: torch.device, memory: float) -> int:
    """The number of runs per stack: as many as fit in memory, in stacks of about equal size."""
    if method.engine == "solo":
        return 1
    most = MAX_WIDTH if device.type == "cpu" else _MAX_WIDTH_GPU
    fitting = 1
    while fitting < min(most, runs) and cost.bytes(fitting + 1, method) <= memory:
        fitting += 1
    return _evenly(runs, fitting)


def _evenly(runs: int, width: int) -> int:
    """The width at which runs form stacks of about equal size, no wider than ``width``."""
    return math.ceil(runs / math.ceil(runs / width))


def _timed(runs: Sequence[Run], method: Method, device: torch.device) -> float:
    """Seconds per step of one run; zero if the step raises, which training will report."""
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
