"""The plan: which runs are trained together, how, by how many processes, and for how long."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ablab.execute.balance import Piece, level, makespan
from ablab.execute.cost import StepCost, count_cost
from ablab.execute.device import device_count, device_memory, find_device
from ablab.execute.method_choice import Alternative, alternatives, choose
from ablab.execute.options import Compiling, Options, cpu_count, threads_each
from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, Method
from ablab.train.run import Run

_MEMORY_SHARE = 0.5  # of the device's memory, for all workers together
_WORTH_A_PROCESS = 10.0  # seconds; with less to do for each, starting processes costs more
_LARGE = 4  # stacks for each worker, from which on the cheapest come first
_TIMING_SECONDS = 3.0  # that timing steps of unknown shapes may take


@dataclass(frozen=True)
class PlannedStack:
    """Runs that are trained together.

    Attributes:
        runs: All runs of the stack, those that are already trained too, so that a repeated command
            forms the same stacks.
        method: How they are trained.
        fallback: What to use where the method cannot be compiled or proves slower; None where
            there is nothing else.
        why: The reason for the method.
        bytes: An estimate of the memory that it inputs.
        seconds: An estimate of the time that is left to train, in one process.
        others: What else could have been chosen, with the time that it would take.
    """

    runs: tuple[Run, ...]
    method: Method
    fallback: Method | None
    why: str
    bytes: int
    seconds: float = 0.0
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Plan:
    """How an experiment will be carried out.

    Attributes:
        stacks: In the order in which they are trained.
        device: The device's name.
        workers: How many processes.
        threads: Threads of each process.
        seconds: An estimate of the time for all that is left, all processes together.
        compiling: The user's choice whether steps are compiled.
    """

    stacks: tuple[PlannedStack, ...]
    device: str
    workers: int
    threads: int
    seconds: float = 0.0
    compiling: Compiling = "auto"


@dataclass(frozen=True)
class _Group:
    """Runs of equal shape; ``left`` are the steps left of each."""

    runs: tuple[Run, ...]
    cost: StepCost | str
    left: tuple[int, ...]


@dataclass(frozen=True)
class _Way:
    """How a group is trained; ``best`` is None where its step raises."""

    group: _Group
    best: Alternative | None
    fallback: Method | None
    others: tuple[tuple[str, float], ...]
    why: str


def make_plan(
    runs: Sequence[Run], options: Options, left: Mapping[str, int], speeds: Speeds
) -> Plan:
    """Forms stacks from runs of equal shape and operations, and chooses how each is trained.

    Args:
        runs: All runs of the experiment, in the grid's order.
        options: The user's choices.
        left: Steps that are left to train, by run id.
        speeds: What is known of this machine; what is timed here is noted in it.
    """
    device = find_device(options.device)
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(run.stack_key, []).append(run)
    groups = [
        _Group(tuple(group), count_cost(group[0]), tuple(left.get(run.id, 0) for run in group))
        for group in members.values()
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
        workers = max(1, min(widest, open_stacks, int(work // _WORTH_A_PROCESS)))
        return plan if workers == widest else planner.plan(workers)
    finally:
        torch.set_num_threads(threads_before)


class _Planner:
    """Plans for a number of workers."""

    def __init__(
        self, groups: Sequence[_Group], options: Options, device: torch.device, speeds: Speeds
    ) -> None:
        self._groups, self._options, self._device = groups, options, device
        self._speeds = speeds
        sharing = cpu_count() if device.type == "cpu" else 1  # processes at most
        self._memory = device_memory(device) * _MEMORY_SHARE / sharing

    def plan(self, workers: int) -> Plan:
        """The plan for some processes."""
        threads = threads_each(workers)
        torch.set_num_threads(threads)
        deadline = time.perf_counter() + _TIMING_SECONDS
        ways = [self._way(group, workers, threads, deadline) for group in self._groups]
        pieces = [piece for number, way in enumerate(ways) for piece in self._pieces(number, way)]
        large = len(pieces) >= _LARGE * workers
        if not large:
            pieces = level(pieces, workers)
        stacks: list[PlannedStack] = []
        for number, way in enumerate(ways):
            widths = [piece.runs for piece in pieces if piece.group == number]
            stacks += self._stacks(way, widths, workers)
        if large or workers > 1:
            # Cheapest first in a large grid, for early answers; else dearest first, to end as one.
            stacks.sort(key=lambda each: each.seconds, reverse=not large)
        seconds = makespan((stack.seconds for stack in stacks), workers)
        if seconds:
            seconds += self._speeds.start_seconds(workers)
        compiling = self._options.compiling
        return Plan(tuple(stacks), self._device.type, workers, threads, seconds, compiling)

    def _way(self, group: _Group, workers: int, threads: int, deadline: float) -> _Way:
        """How a group is trained: the cheapest of what there is."""
        if isinstance(group.cost, str):  # training it keeps the whole error with it
            return _Way(group, None, None, (), f"its step raises {group.cost}")
        run_steps = sum(group.left)
        found = alternatives(
            group.runs,
            group.cost,
            self._options,
            self._device,
            self._memory,
            speeds=self._speeds,
            threads=threads,
            workers=workers,
            groups=len(self._groups),
            run_steps=run_steps,
            deadline=deadline,
        )
        best, fallback = choose(found, run_steps)
        others = tuple(
            (other.method.title, other.seconds(run_steps) / other.processes)
            for other in sorted(found, key=lambda other: other.seconds(run_steps))
            if other is not best
        )
        why = self._why(best, found, len(group.runs), run_steps)
        return _Way(group, best, None if fallback is None else fallback.method, others, why)

    def _pieces(self, number: int, way: _Way) -> list[Piece]:
        """A group's runs in stacks as wide as is good, by what training all of them takes."""
        runs, best = way.group.runs, way.best
        if best is None:
            return [Piece(number, 1, 0.0)] * len(runs)
        seconds = best.step_seconds * sum(run.train.steps for run in runs) / len(runs)
        return [
            Piece(
                number,
                min(best.width, len(runs) - start),
                seconds,
                best.compile_seconds,
                best.method.rows == 1,  # run by run, so that its width changes nothing
            )
            for start in range(0, len(runs), best.width)
        ]

    def _stacks(self, way: _Way, widths: Sequence[int], workers: int) -> list[PlannedStack]:
        """A group's stacks, of so many runs each."""
        group, best = way.group, way.best
        stacks: list[PlannedStack] = []
        start = compiling = 0
        for width in widths:
            part = slice(start, start + width)
            start += width
            if best is None or isinstance(group.cost, str):
                stacks.append(PlannedStack(group.runs[part], SOLO, None, way.why, 0))
                continue
            steps = sum(group.left[part])
            # Each process that takes one of the group's stacks makes its own program of them.
            compiles = steps > 0 and compiling < min(workers, len(widths))
            compiling += compiles
            stacks.append(
                PlannedStack(
                    group.runs[part],
                    best.method,
                    way.fallback,
                    way.why,
                    group.cost.bytes(width, best.method),
                    best.step_seconds * steps + best.compile_seconds * compiles,
                    way.others,
                )
            )
        return stacks

    def _why(
        self,
        best: Alternative,
        found: Sequence[Alternative],
        equal: int,
        run_steps: int,
    ) -> str:
        """The reason for a choice, in a few words."""
        if len(found) == 1:
            return "asked for" if self._options.engine != "auto" or equal > 1 else "a single run"
        next_best = min(
            (each for each in found if each is not best),
            key=lambda each: each.seconds(run_steps),
        )
        if not run_steps:
            return "trained already"
        gain = next_best.seconds(run_steps) / best.seconds(run_steps)
        source = "measured" if best.measured else "estimated"
        if gain < 1:  # a little slower on paper, and chosen all the same
            return "few steps" if next_best.measured else f"{next_best.method.title} is untried"
        return f"{gain:.2f}× the speed of {next_best.method.title}, {source}"
