"""Choosing the method that trains a group of runs of equal shape."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ablab.execute.cost import StepCost
from ablab.execute.cost_model import INNERMOST_SAMPLES, innermost_is_possible, step_seconds
from ablab.execute.division import group_estimate
from ablab.execute.estimate import NO_TIME, Estimate
from ablab.execute.group import Alternative, Group
from ablab.execute.options import Options
from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, STACK, Method
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.train.step_calls import STEPS_UNTIL_REPLAYED

STATEFUL = "the model carries state from one pass to the next"
UNSTACKABLE = "cannot be stacked"
RANDOM = "the model draws from torch's generator, whose numbers depend on the method"
MAX_WIDTH = 8  # runs per stack on a CPU, where wider stacks are no faster
_MAX_WIDTH_GPU = 512
# With at most this many tokens, plain attention is faster in a compiled program (never in eager).
_PLAIN_TOKENS = 128
# The tensors of a call should fit in a core's cache. A batch with more activation memory than this
# is split into parts of about this many tokens.
_UNSPLIT_BYTES, _PART_TOKENS = 6 * 2**20, 2048
_GRAPHS = 2  # a CUDA graph keeps the memory of a step, and other steps need as much beside it
_SMALL_SECONDS = 5.0  # the method of a group that takes less depends on no timing
_TIMED_SECONDS = 0.3  # a group that takes less is not timed at all
# Runs that go on keep their method, which makes them equal bit for bit, unless another one saves
# this much and is faster beyond the uncertainty.
_SAME_SECONDS = 10.0


@dataclass(frozen=True)
class Choice:
    """How a group is trained.

    Attributes:
        best: The chosen alternative; None if the group's step raises.
        fallback: The eager method to fall back to if the chosen one is compiled; else None.
        seconds: How long the group takes by the chosen method.
        others: The titles of the other methods that were considered, with how long the group takes
            by them, shortest first. None is shorter than ``seconds``.
        why: The reason, in a few words.
        apart: Why runs are trained alone although a stack was requested; None if they are not.
    """

    best: Alternative | None
    fallback: Method | None
    seconds: Estimate
    others: tuple[tuple[str, Estimate], ...]
    why: str
    apart: str | None = None


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
        """Chooses the method by which a group is done first, among those that it may use."""
        if isinstance(group.cost, str):  # training stores the complete error with the run
            return Choice(None, None, NO_TIME, (), f"its step raises {group.cost}")
        found = self._alternatives(group, group.cost)
        share = math.ceil(self.workers / self.groups)
        seconds = {each.method: group_estimate(group, each, share) for each in found}

        def cost(each: Alternative) -> float:
            return seconds[each.method].seconds

        eager = [each for each in found if not each.method.compiled]
        few, same = _of_few_steps(eager, group), self._same_method(group, found, seconds)
        only = few if same is None else same
        if only is not None and not only.measured and not only.method.compiled:
            timed = self._timed(group, group.cost, only)
            if timed is not None:  # for the estimate; the choice is made
                seconds[only.method] = group_estimate(group, timed, share)
                only = timed
        considered = found if only is None else [only]
        best = min(considered, key=cost)
        fallback = min(eager, key=cost) if best.method.compiled and eager else None
        others = sorted((each for each in considered if each is not best), key=cost)
        rows = tuple((each.method.title, seconds[each.method]) for each in others)
        why = self._why(best, rows, seconds[best.method], group)
        if group.run_steps and len(considered) < len(found):
            why = "few steps" if same is None else "continues as it began"
        apart = None
        if (
            self.options.engine == "stack"
            and group.cost.unstackable is not None
            and not best.method.compiled
        ):
            apart = f"{STACK.title} fails: {group.cost.unstackable}"
        fallback_method = None if fallback is None else fallback.method
        return Choice(best, fallback_method, seconds[best.method], rows, why, apart)

    def _timed(self, group: Group, cost: StepCost, chosen: Alternative) -> Alternative | None:
        """A method with its time for a few steps; None if timing does not pay off or fails."""
        worth = chosen.model_seconds * group.run_steps > _TIMED_SECONDS
        if not worth or time.perf_counter() >= self.deadline:
            return None
        seconds = _timed(
            group.runs[: chosen.width], chosen.method, self.device, self.options.replays
        )
        if not seconds:
            return None
        threads, workers = self.threads, self.workers
        self.speeds.note_step(cost, chosen.method, threads, workers, seconds, timed=True)
        return self._alternative(group, cost, chosen.method, chosen.width, True)

    def _same_method(
        self, group: Group, found: Sequence[Alternative], seconds: Mapping[Method, Estimate]
    ) -> Alternative | None:
        """The method that a group's runs have been trained by, unless another is surely faster."""
        same = next((each for each in found if each.method == group.before), None)
        if same is None:
            return None
        own = seconds[same.method]
        for other in seconds.values():
            surely = other.high < own.seconds and other.seconds < own.low
            if surely and own.seconds - other.seconds > _SAME_SECONDS:
                return None
        return same

    def _alternatives(self, group: Group, cost: StepCost) -> list[Alternative]:
        """All methods that can train a group, with their cost; times eager ones if it pays off."""
        found = []
        runs, speeds, threads, workers = group.runs, self.speeds, self.threads, self.workers
        worth_timing = speeds.model_step(cost, SOLO, threads) * group.run_steps > _SMALL_SECONDS
        methods = _methods(len(runs), cost, self.options, self.device)
        for method in _with_former(methods, group.before, cost, self.device):
            memory = self._memory_of_steps(method, runs[0])
            width = _width(len(runs), cost, method, self.device, memory)
            if self.options.engine == "auto" and method.engine == "stack" and width == 1:
                continue  # a run alone in its stack is trained solo
            known = speeds.knows(cost, method, threads, workers)
            in_time = time.perf_counter() < self.deadline
            if worth_timing and in_time and not known and not method.compiled:
                seconds = _timed(runs[:width], method, self.device, self.options.replays)
                if not seconds and method.vmapped:
                    continue  # some operations, such as a recurrent layer's, do not run under vmap
                if seconds:
                    speeds.note_step(cost, method, threads, workers, seconds, timed=True)
                    known = True
            if method.engine == "stack":  # enough stacks to keep all processes busy
                busy = math.ceil(len(runs) / math.ceil(workers / self.groups))
                width = _evenly(len(runs), max(1, min(width, busy)))
            found.append(self._alternative(group, cost, method, width, known))
        return found

    def _memory_of_steps(self, method: Method, run: Run) -> float:
        """Bytes that a stack's steps may use, beside the graphs of those that are replayed."""
        replayed = self.device.type == "cuda" and self.options.replays
        if replayed and (method.compiled or run.program_is_shipped):
            return self.memory / _GRAPHS
        return self.memory

    def _alternative(
        self, group: Group, cost: StepCost, method: Method, width: int, known: bool
    ) -> Alternative:
        """A method with its cost for a group, in stacks of some width."""
        speeds, threads, workers = self.speeds, self.threads, self.workers
        step = speeds.step(cost, method, threads, workers)
        samples = group.runs[0].train.evaluate.samples
        return Alternative(
            method,
            width,
            min(workers, math.ceil(len(group.runs) / width)),
            step,
            speeds.compile_seconds(cost, method),
            known,
            speeds.model_step(cost, method, threads),
            speeds.step_factor(cost, method, threads, workers),
            speeds.compile_factor(cost, method),
            speeds.evaluation(cost, samples, method, threads, workers),
            speeds.setup(method, width, step),
        )

    def _why(
        self,
        best: Alternative,
        others: Sequence[tuple[str, Estimate]],
        seconds: Estimate,
        group: Group,
    ) -> str:
        """The reason for the choice, in a few words."""
        equal = len(group.runs)
        assert isinstance(group.cost, StepCost), "a method is chosen for a step that can be counted"
        if group.cost.stateful:
            return STATEFUL
        if group.cost.unstackable is not None and equal > 1:
            return f"{UNSTACKABLE} ({group.cost.unstackable})"
        if group.cost.is_random:
            return RANDOM
        if not group.run_steps:
            return "already trained"
        if not others:
            return "as requested" if self.options.engine != "auto" or equal > 1 else "a single run"
        title, least = others[0]
        gain = least.seconds / seconds.seconds
        doubt = ", within the uncertainty" if seconds.overlaps(least) else ""
        source = "measured" if best.measured else "estimated"
        return f"{gain:.2f}× the speed of {title}, {source}{doubt}"


def _of_few_steps(eager: Sequence[Alternative], group: Group) -> Alternative | None:
    """The method of a group that takes only seconds; None for any other group.

    The cost model alone decides, so that repeating the command always trains in the same way.
    """
    reference = next((each for each in eager if each.method == SOLO), None)
    if reference is None or reference.model_seconds * group.run_steps > _SMALL_SECONDS:
        return None
    return min(eager, key=lambda each: each.model_seconds)


def _methods(
    runs: int, cost: StepCost, options: Options, device: torch.device, layouts: int = 1
) -> list[Method]:
    """The methods that the options and the group's shape allow.

    Args:
        runs: The number of runs.
        cost: The cost of a step.
        options: The user's options.
        device: Where runs train.
        layouts: In how many layouts steps may be compiled, the fastest first.
    """
    on_cpu = device.type == "cpu"
    if cost.stateful or cost.is_random:
        return [SOLO]
    if cost.unstackable is not None:
        options = replace(options, engine="solo")
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
            methods += _compiled(base, cost, on_cpu)[:layouts]
    return methods


def _with_former(
    methods: list[Method], before: Method | None, cost: StepCost, device: torch.device
) -> list[Method]:
    """Methods with the one that has trained the runs, if it differs from one only in the layout.

    Former releases compiled other steps with the batch innermost.
    """
    if before is None or before in methods or device.type != "cpu" or cost.mixes_samples:
        return methods

    def in_its_layout(method: Method) -> Method:
        return replace(
            method, layout=before.layout, attention=before.attention, samples=before.samples
        )

    is_former = any(each.compiled and in_its_layout(each) == before for each in methods)
    return [*methods, before] if is_former else methods


def possible_methods(cost: StepCost, device: torch.device) -> list[Method]:
    """The methods that plans may choose for one run or several, whatever the options; not solo.

    Which layout is the faster one depends on the batch, so both are among them.

    One run calls the same compiled program as a stack that calls it run by run, so it is left out.
    """
    found: dict[Method, None] = {}
    for count in (2, 1):
        for method in _methods(count, cost, Options(), device, layouts=2):
            as_stack = replace(method, engine="stack", rows=1)
            if method != SOLO and as_stack not in found:
                found[method] = None
    return list(found)


def _compiled(base: Method, cost: StepCost, on_cpu: bool) -> list[Method]:
    """Compiled methods, the fastest first; on a CPU run by run, in parts that fit in its cache."""
    if not on_cpu:
        return [replace(base, compiled=True)]
    method = replace(base, compiled=True, rows=1 if base.engine == "stack" else None)
    attention: Literal["plain", "fused"] = "plain" if cost.tokens <= _PLAIN_TOKENS else "fused"
    usual = replace(method, attention=attention, samples=_part(cost, 1))
    parts = _part(cost, INNERMOST_SAMPLES)
    innermost = replace(method, layout="innermost", attention="plain", samples=parts)
    if not innermost_is_possible(cost):
        return [usual]
    return sorted([usual, innermost], key=lambda each: step_seconds(cost, each, 1))


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


def _timed(runs: Sequence[Run], method: Method, device: torch.device, replays: bool) -> float:
    """Seconds per step of one run; zero if the step raises, which training will report."""
    stack = None
    try:
        own = runs[:1] if method.engine == "solo" else runs
        stack = Stack(own, None, device, method, replays=replays)
        stack.advance(STEPS_UNTIL_REPLAYED if device.type == "cuda" and replays else 1)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            stack.advance(1)
            times.append((time.perf_counter() - began) / len(stack.runs))
    except (Exception, SystemExit):
        return 0.0
    finally:
        if stack is not None:
            stack.release()
    return sorted(times)[1]
