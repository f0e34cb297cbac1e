"""The plan: which runs train together, by which method, in how many processes, for how long."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psutil
import torch

from ablab.config import InputError, Problem, ticking
from ablab.execute.balance import balance, stagger
from ablab.execute.cost import count_cost
from ablab.execute.device import device_count, device_memory, find_device
from ablab.execute.division import is_large, makespan_estimate, stack_estimates, work_items
from ablab.execute.early_stops import ExpectedStop
from ablab.execute.estimate import NO_TIME, Estimate
from ablab.execute.group import Group
from ablab.execute.machine import busy_slowdown
from ablab.execute.method_choice import Choice, MethodChooser
from ablab.execute.options import Compiling, Options, cpu_count, threads_each
from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, Method
from ablab.train.run import Run, by_stack_key

_MEMORY_SHARE = 0.5  # the fraction of the device's memory that all workers together may use
_MIN_PROCESS_SECONDS = 10.0  # with less work per process, starting processes costs more
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
        others: The titles of the other methods that were considered, with how long all stacks of
            this shape would take by them.
        estimate: The seconds with their range.
        all_stacks: How long all stacks of this shape take by the chosen method.
        apart: Why its runs are trained alone although a stack was requested; None if they are not.
        compile_seconds: The estimated seconds for compiling, included in ``seconds``.
    """

    runs: tuple[Run, ...]
    method: Method
    fallback: Method | None
    why: str
    bytes: int
    seconds: float = 0.0
    others: tuple[tuple[str, Estimate], ...] = ()
    estimate: Estimate = NO_TIME
    all_stacks: Estimate = NO_TIME
    apart: str | None = None
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
        estimate: The seconds with their range.
        otherwise: Another number of processes that was considered, with the seconds that it would
            take; None if no other was.
        stops: Where stop rules will probably end runs, by run id.
        slowdown: How many times as long training takes if other processes go on using the machine
            as they do now, which the upper end of ``estimate`` includes.
        until: The step to which runs are trained for now, as by halving; None trains each to its
            last step.
    """

    stacks: tuple[PlannedStack, ...]
    device: str
    workers: int
    threads: int
    seconds: float = 0.0
    compiling: Compiling = "auto"
    estimate: Estimate = NO_TIME
    otherwise: tuple[int, Estimate] | None = None
    stops: Mapping[str, ExpectedStop] = field(default_factory=dict)
    slowdown: float = 1.0
    until: int | None = None


def make_plan(
    runs: Sequence[Run],
    options: Options,
    left: Mapping[str, int],
    speeds: Speeds,
    before: Mapping[str, Method] | None = None,
    stops: Mapping[str, ExpectedStop] | None = None,
    device: torch.device | None = None,
    elsewhere: Collection[str] = (),
) -> Plan:
    """Forms stacks of runs with equal shapes and operations, and chooses a method for each.

    Args:
        runs: All runs of the experiment, in the grid's order.
        options: The user's options.
        left: Steps left to train, by run id.
        speeds: The known speeds of this machine; new timings are recorded in it.
        before: The methods that have trained runs so far, by run id. Unless the options exclude
            them or another one is faster beyond the uncertainty, runs keep their method.
        stops: Where stop rules will probably end runs, by run id.
        device: The device for which it is made; by default that of the options.
        elsewhere: Runs that other experiments had trained before this one was first asked for. The
            stacks of the others are formed as if shapes with such runs alone did not exist.

    Raises:
        InputError: This machine does not have the requested device.
    """
    device = find_device(options.device) if device is None else device
    members = by_stack_key(runs).values()
    groups = [
        Group(
            tuple(group),
            count_cost(group[0]),
            tuple(left.get(run.id, 0) for run in group),
            _only([(before or {}).get(run.id) for run in group if left.get(run.id)]),
            tuple((stops or {}).get(run.id) for run in group),
            options.until,
        )
        for group in ticking(members, len(members), "planning", "shape")
    ]
    threads_before = torch.get_num_threads()
    planner = _Planner(groups, options, device, speeds, elsewhere)
    try:
        if options.workers is not None:
            return _finished(planner.plan(options.workers), stops)
        widest = cpu_count() if device.type == "cpu" else device_count(device)
        plan = planner.plan(widest)
        open_stacks = sum(any(left.get(run.id) for run in stack.runs) for stack in plan.stacks)
        work = sum(stack.seconds for stack in plan.stacks)
        workers = max(1, min(widest, open_stacks, int(work // _MIN_PROCESS_SECONDS)))
        if workers != widest:
            plan = _faster(planner.plan(workers), plan)
        return _finished(plan, stops)
    finally:
        torch.set_num_threads(threads_before)


def _finished(plan: Plan, stops: Mapping[str, ExpectedStop] | None) -> Plan:
    """The plan with what is known beside its stacks."""
    on_cpu = plan.device == "cpu"
    slowdown = busy_slowdown(plan.workers * plan.threads) if on_cpu else 1.0
    estimate = replace(plan.estimate, high=plan.estimate.high * slowdown)
    return replace(plan, estimate=estimate, stops=dict(stops or {}), slowdown=slowdown)


def _faster(fewer: Plan, more: Plan) -> Plan:
    """The faster one of two plans; the one with fewer processes if it takes only seconds.

    Which one is faster depends on timings. A small grid does not, so that repeating its command
    trains it in the same way.
    """
    if fewer.seconds <= max(_MIN_PROCESS_SECONDS, more.seconds):
        return replace(fewer, otherwise=(more.workers, more.estimate))
    return replace(more, otherwise=(fewer.workers, fewer.estimate))


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
        self,
        groups: Sequence[Group],
        options: Options,
        device: torch.device,
        speeds: Speeds,
        elsewhere: Collection[str],
    ) -> None:
        self._groups, self._options, self._device = groups, options, device
        self._speeds = speeds
        # The stacks of a grid that was begun are those of the first time, so they are formed as if
        # nothing were trained yet, except for shapes that other experiments had trained before.
        numbers = list(range(len(groups)))
        own = [n for n in numbers if not all(run.id in elsewhere for run in groups[n].runs)]
        self._counted = own or numbers

    def plan(self, workers: int) -> Plan:
        """The plan for this number of processes."""
        threads = self._options.threads or threads_each(workers)
        # The most processes on one device. On a CPU, the width does not depend on their number.
        on_cpu = self._device.type == "cpu"
        sharing = cpu_count() if on_cpu else math.ceil(workers / device_count(self._device))
        memory = device_memory(self._device) * _MEMORY_SHARE / sharing
        torch.set_num_threads(threads)
        deadline = time.perf_counter() + _TIMING_SECONDS
        chooser = MethodChooser(
            self._options, self._device, memory, self._speeds,
            threads, workers, len(self._counted), deadline,
        )  # fmt: skip
        choices = [
            (group, chooser.choose(group))
            for group in ticking(self._groups, len(self._groups), "measuring steps of", "shape")
        ]
        every = {
            number: work_items(number, group, choice.best)
            for number, (group, choice) in enumerate(choices)
        }
        items = [item for number in self._counted for item in every[number]]
        large = is_large(len(items), workers)
        if not large:
            items = balance(items, workers)
        items += [item for number in every.keys() - set(self._counted) for item in every[number]]
        share = math.ceil(workers / len(self._counted))
        widths: dict[int, list[int]] = {}
        for item in items:
            widths.setdefault(item.group, []).append(item.runs)
        stacks: list[PlannedStack] = []
        for number, (group, choice) in enumerate(choices):
            stacks += self._stacks(group, choice, widths[number], share)
        if large or workers > 1:
            # Shortest first in a large grid, for early results. Else longest first, so that the
            # processes end together.
            stacks.sort(key=lambda each: each.seconds, reverse=not large)
            programs = [(each.runs[0].stack_key, each.compile_seconds) for each in stacks]
            order = stagger([each.seconds for each in stacks], programs, workers)
            stacks = [stacks[place] for place in order]
        estimate = makespan_estimate([stack.estimate for stack in stacks], workers)
        if estimate.seconds:
            estimate += self._speeds.start(workers)
        return Plan(
            tuple(stacks), self._device.type, workers, threads,
            estimate.seconds, self._options.compiling, estimate,
        )  # fmt: skip

    def _stacks(
        self, group: Group, choice: Choice, widths: Sequence[int], share: int
    ) -> list[PlannedStack]:
        """A group's stacks, of the given widths; ``share`` processes train them side by side."""
        best = choice.best
        if best is None or isinstance(group.cost, str):
            alone = (PlannedStack((run,), SOLO, None, choice.why, 0) for run in group.runs)
            return list(alone)
        estimates = stack_estimates(group, best, widths, share)
        stacks: list[PlannedStack] = []
        start = 0
        for width, estimate in zip(widths, estimates, strict=True):
            stacks.append(
                PlannedStack(
                    group.runs[start : start + width],
                    best.method,
                    choice.fallback,
                    choice.why,
                    group.cost.bytes(width, best.method),
                    estimate.seconds,
                    choice.others,
                    estimate,
                    choice.seconds,
                    choice.apart,
                    best.compile_seconds,
                )
            )
            start += width
        return stacks
