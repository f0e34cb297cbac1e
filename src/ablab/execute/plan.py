"""The plan: which runs train together, by which method, in how many processes, for how long."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch

from ablab.config import InputError, Problem, ticking
from ablab.execute.balance import WorkItem, balance, makespan
from ablab.execute.cost import count_cost
from ablab.execute.device import device_count, device_memory, find_device
from ablab.execute.method_choice import Alternative, Choice, Group, MethodChooser
from ablab.execute.options import Compiling, Options, cpu_count, threads_each
from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, Method
from ablab.train.run import Run, by_stack_key

_MEMORY_SHARE = 0.5  # the fraction of the device's memory that all workers together may use
_MIN_PROCESS_SECONDS = 10.0  # with less work per process, starting processes costs more
_LARGE = 4  # with this many stacks per worker, the shortest are trained first
_COPIES = 3  # of the parameters that even the smallest step needs
_TIMING_SECONDS = 3.0  # time limit for measuring steps of unknown shapes


@dataclass(frozen=True)
class PlannedStack:
    """Runs that are trained together.

    Attributes:
        runs: All runs of the stack, including trained ones, so that a repeated command forms the
            same stacks.
        method: How they are trained.
        fallback: The method to use if this one does not compile or is slower; None if there is no
            alternative.
        why: The reason for the method.
        bytes: The estimated memory.
        seconds: The estimated seconds left to train in one process.
        others: The other methods' titles, with their estimated seconds.
        compile_seconds: The estimated seconds for compiling, included in ``seconds``.
    """

    runs: tuple[Run, ...]
    method: Method
    fallback: Method | None
    why: str
    bytes: int
    seconds: float = 0.0
    others: tuple[tuple[str, float], ...] = ()
    compile_seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """How an experiment is trained.

    Attributes:
        stacks: The stacks in the order in which they are trained.
        device: The device's name.
        workers: The number of processes.
        threads: Threads per process.
        seconds: The estimated wall-clock seconds until all processes are done.
        compiling: The user's option whether to compile steps.
    """

    stacks: tuple[PlannedStack, ...]
    device: str
    workers: int
    threads: int
    seconds: float = 0.0
    compiling: Compiling = "auto"


def make_plan(
    runs: Sequence[Run],
    options: Options,
    left: Mapping[str, int],
    speeds: Speeds,
    before: Mapping[str, Method] | None = None,
) -> Plan:
    """Forms stacks of runs with equal shapes and operations, and chooses a method for each.

    Args:
        runs: All runs of the experiment, in the grid's order.
        options: The user's options.
        left: Steps left to train, by run id.
        speeds: The known speeds of this machine; new timings are recorded in it.
        before: The methods that have trained runs so far, by run id. Unless the options exclude
            them or another one is far faster, runs keep their method.

    Raises:
        InputError: This machine does not have the requested device.
    """
    device = find_device(options.device)
    members = by_stack_key(runs).values()
    groups = [
        Group(
            tuple(group),
            count_cost(group[0]),
            tuple(left.get(run.id, 0) for run in group),
            _only([(before or {}).get(run.id) for run in group if left.get(run.id)]),
        )
        for group in ticking(members, len(members), "planning", "shape")
    ]
    threads_before = torch.get_num_threads()
    planner = _Planner(groups, options, device, speeds)
    try:
        if options.workers is not None:
            return planner.plan(options.workers)
        widest = cpu_count() if device.type == "cpu" else device_count(device)
        plan = planner.plan(widest)
        open_stacks = sum(any(left.get(run.id) for run in stack.runs) for stack in plan.stacks)
        work = sum(stack.seconds for stack in plan.stacks)
        workers = max(1, min(widest, open_stacks, int(work // _MIN_PROCESS_SECONDS)))
        return plan if workers == widest else planner.plan(workers)
    finally:
        torch.set_num_threads(threads_before)


def _only(methods: Sequence[Method | None]) -> Method | None:
    """The one method among those given; None if they are several or none."""
    found = {method for method in methods if method is not None}
    return found.pop() if len(found) == 1 else None


def check_memory(runs: Sequence[Run]) -> None:
    """Rejects models that this machine cannot hold, before one is built.

    Args:
        runs: All runs of an experiment.

    Raises:
        InputError: Parameters and gradient alone exceed the machine's memory.
    """
    memory = psutil.virtual_memory().total
    seen: set[int] = set()
    for run in runs:
        if id(run.model) in seen:
            continue
        seen.add(id(run.model))
        count = run.model.parameter_estimate(run.task.vocab_size)
        size = 8 if run.train.precision == "float64" else 4
        if count is not None and count * size * _COPIES > memory:
            raise InputError(
                Problem(
                    f"a model of about {count:.1e} parameters does not fit into memory",
                    "model",
                    given=f"{count * size * _COPIES / 2**30:,.0f} GiB for parameters, gradient and "
                    f"initial values; this machine has {memory / 2**30:,.0f} GiB",
                    expected="a smaller model, vocabulary or precision",
                )
            )


class _Planner:
    """Makes plans for different numbers of workers."""

    def __init__(
        self, groups: Sequence[Group], options: Options, device: torch.device, speeds: Speeds
    ) -> None:
        self._groups, self._options, self._device = groups, options, device
        self._speeds = speeds
        sharing = cpu_count() if device.type == "cpu" else 1  # the most processes on one device
        self._memory = device_memory(device) * _MEMORY_SHARE / sharing

    def plan(self, workers: int) -> Plan:
        """The plan for this number of processes."""
        threads = threads_each(workers)
        torch.set_num_threads(threads)
        deadline = time.perf_counter() + _TIMING_SECONDS
        chooser = MethodChooser(
            self._options, self._device, self._memory, self._speeds,
            threads, workers, len(self._groups), deadline,
        )  # fmt: skip
        choices = [
            (group, chooser.choose(group))
            for group in ticking(self._groups, len(self._groups), "measuring steps of", "shape")
        ]
        items = [
            item
            for number, (group, choice) in enumerate(choices)
            for item in self._items(number, group, choice.best)
        ]
        large = len(items) >= _LARGE * workers
        if not large:
            items = balance(items, workers)
        widths: dict[int, list[int]] = {}
        for item in items:
            widths.setdefault(item.group, []).append(item.runs)
        stacks: list[PlannedStack] = []
        for number, (group, choice) in enumerate(choices):
            stacks += self._stacks(group, choice, widths[number], workers)
        if large or workers > 1:
            # Shortest first in a large grid, for early results. Else longest first, so that the
            # processes end together.
            stacks.sort(key=lambda each: each.seconds, reverse=not large)
        seconds = makespan((stack.seconds for stack in stacks), workers)
        if seconds:
            seconds += self._speeds.start_seconds(workers)
        compiling = self._options.compiling
        return Plan(tuple(stacks), self._device.type, workers, threads, seconds, compiling)

    def _items(self, number: int, group: Group, best: Alternative | None) -> list[WorkItem]:
        """A group's runs in stacks of the chosen width, with the seconds that they take."""
        runs = group.runs
        if best is None:
            return [WorkItem(number, 1, 0.0)] * len(runs)
        seconds = best.step_seconds * sum(run.train.steps for run in runs) / len(runs)
        return [
            WorkItem(
                number,
                min(best.width, len(runs) - start),
                seconds,
                best.compile_seconds,
                best.method.rows == 1,  # one run per call, so the width does not matter
            )
            for start in range(0, len(runs), best.width)
        ]

    def _stacks(
        self, group: Group, choice: Choice, widths: Sequence[int], workers: int
    ) -> list[PlannedStack]:
        """A group's stacks, of the given widths."""
        best = choice.best
        stacks: list[PlannedStack] = []
        start = compiling = 0
        for width in widths:
            part = slice(start, start + width)
            start += width
            if best is None or isinstance(group.cost, str):
                stacks.append(PlannedStack(group.runs[part], SOLO, None, choice.why, 0))
                continue
            steps = sum(group.left[part])
            # Each process that trains one of the group's stacks compiles its own program.
            compiles = steps > 0 and compiling < min(workers, len(widths))
            compiling += compiles
            stacks.append(
                PlannedStack(
                    group.runs[part],
                    best.method,
                    choice.fallback,
                    choice.why,
                    group.cost.bytes(width, best.method),
                    best.step_seconds * steps + best.compile_seconds * compiles,
                    choice.others,
                    best.compile_seconds * compiles,
                )
            )
        return stacks
