"""The plan: which runs are trained together, how, by how many processes, and for how long."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ablab.execute.balance import Piece, level, makespan
from ablab.execute.cost import count_cost
from ablab.execute.device import device_count, device_memory, find_device
from ablab.execute.method_choice import Alternative, Choice, Group, MethodChooser
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
        Group(tuple(group), count_cost(group[0]), tuple(left.get(run.id, 0) for run in group))
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
        self, groups: Sequence[Group], options: Options, device: torch.device, speeds: Speeds
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
        chooser = MethodChooser(
            self._options, self._device, self._memory, self._speeds,
            threads, workers, len(self._groups), deadline,
        )  # fmt: skip
        choices = [(group, chooser.choose(group)) for group in self._groups]
        pieces = [
            piece
            for number, (group, choice) in enumerate(choices)
            for piece in self._pieces(number, group, choice.best)
        ]
        large = len(pieces) >= _LARGE * workers
        if not large:
            pieces = level(pieces, workers)
        stacks: list[PlannedStack] = []
        for number, (group, choice) in enumerate(choices):
            widths = [piece.runs for piece in pieces if piece.group == number]
            stacks += self._stacks(group, choice, widths, workers)
        if large or workers > 1:
            # Cheapest first in a large grid, for early answers; else dearest first, to end as one.
            stacks.sort(key=lambda each: each.seconds, reverse=not large)
        seconds = makespan((stack.seconds for stack in stacks), workers)
        if seconds:
            seconds += self._speeds.start_seconds(workers)
        compiling = self._options.compiling
        return Plan(tuple(stacks), self._device.type, workers, threads, seconds, compiling)

    def _pieces(self, number: int, group: Group, best: Alternative | None) -> list[Piece]:
        """A group's runs in stacks of the chosen width, with the seconds that they take."""
        runs = group.runs
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
            # Each process that takes one of the group's stacks makes its own program of them.
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
                )
            )
        return stacks
