"""The plan: which runs are trained together, on what, by how many processes, and for how long."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from ablab.execute.device import device_memory, find_device
from ablab.execute.options import Options, cpu_count, threads_each
from ablab.train.method import SOLO, STACK
from ablab.train.run import Run
from ablab.train.stack import Stack, initial_model

MAX_WIDTH = 8
_MEMORY_SHARE = 0.5  # of the device's memory, for all workers together
_WORTH_A_PROCESS = 10.0  # seconds; with less to do for each, starting processes costs more
# A rough step, for choosing the number of workers alone, so that the choice does not hang on a
# measurement: what launching its operations takes, and operations a second.
_STEP_SECONDS, _OPERATIONS_PER_SECOND = 2e-3, 2e10


@dataclass(frozen=True)
class PlannedStack:
    """Runs that are trained together.

    Attributes:
        runs: All runs of the stack, those that are already trained too, so that a repeated command
            forms the same stacks.
        engine: ``solo`` or ``stack``.
        why: The reason for the engine.
        bytes: An estimate of the memory that it needs.
    """

    runs: tuple[Run, ...]
    engine: str
    why: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """How an experiment will be carried out.

    Attributes:
        stacks: In the order in which they are trained.
        device: The device's name.
        workers: How many processes.
        threads: Threads of each process.
    """

    stacks: tuple[PlannedStack, ...]
    device: str
    workers: int
    threads: int


def make_plan(runs: Sequence[Run], options: Options, to_train: Iterable[str]) -> Plan:
    """Forms stacks from runs of equal shape and operations, in the grid's order.

    Stacks are a function of the runs, the engine and the machine's memory, never of what is
    trained already or of the number of workers.

    Args:
        runs: All runs of the experiment.
        options: The user's choices.
        to_train: The ids of the runs that are not yet trained, which decide how many workers pay.
    """
    device = find_device(options.device)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.stack_key, []).append(run)
    sharing = cpu_count() if device.type == "cpu" else 1  # processes at most, whatever is asked for
    memory = device_memory(device) * _MEMORY_SHARE / sharing
    stacks: list[PlannedStack] = []
    for group in groups.values():
        one = run_bytes(group[0])
        fitting = max(1, int(memory // one)) if one else 1
        width = 1 if options.engine == "solo" else min(MAX_WIDTH, fitting)
        count = math.ceil(len(group) / width)
        even = math.ceil(len(group) / count)
        for start in range(0, len(group), even):
            members = tuple(group[start : start + even])
            engine, why = _engine(len(members), len(group), fitting, options)
            stacks.append(PlannedStack(members, engine, why, one * len(members)))
    left = set(to_train)
    open_stacks = [stack for stack in stacks if any(run.id in left for run in stack.runs)]
    workers = options.workers or _workers(open_stacks, left, device)
    return Plan(tuple(stacks), device.type, workers, threads_each(workers))


def _engine(width: int, equal: int, fitting: int, options: Options) -> tuple[str, str]:
    if options.engine == "solo":
        return "solo", "asked for"
    if options.engine == "stack":
        return "stack", "asked for"
    if width > 1:
        return "stack", f"{equal} runs have this shape"
    if equal > 1:
        return "solo", f"{fitting} fit in memory" if fitting == 1 else "one is left over"
    return "solo", "no other run has this shape"


def _workers(stacks: Sequence[PlannedStack], left: set[str], device: torch.device) -> int:
    """Processes pay on a CPU, where there is work for each and it outlasts their start."""
    if device.type != "cpu":
        return 1
    seconds = 0.0
    for stack in stacks:
        runs = [run for run in stack.runs if run.id in left]
        step = _STEP_SECONDS + run_operations(stack.runs[0]) / _OPERATIONS_PER_SECOND
        seconds += step * sum(run.train.steps for run in runs)
    return max(1, min(cpu_count(), len(stacks), int(seconds // _WORTH_A_PROCESS)))


def run_operations(run: Run) -> float:
    """Multiplications and additions of one training step of one run, by the usual 6 P tokens.

    (Kaplan et al., 2020: two for each parameter and token forward, four backward.)
    """
    try:
        parameters = sum(p.numel() for p in initial_model(run).parameters())
    except (Exception, SystemExit):  # as in run_bytes
        return 0.0
    return 6.0 * parameters * run.train.batch_size * run.task.input_length


def run_bytes(run: Run) -> int:
    """Memory that training one run takes: its state, and what a step keeps for its gradient."""
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    try:
        stack = Stack([run], [None], torch.device("cpu"), SOLO)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            stack.advance(1)
    except (
        Exception,
        SystemExit,
    ):  # a model that breaks is kept with its run when that is trained, not here
        return 0
    state = stack.theta.nbytes * (3 + len(stack.slots))  # parameters, gradient and a copy, slots
    return state + 2 * sum(saved.values())  # what is kept, and as much again in passing


@dataclass(frozen=True)
class Estimate:
    """What the plan is expected to take.

    Attributes:
        seconds: Time for all that is left to train, all workers together.
        stack_seconds: Time of each stack, in the plan's order; zero where nothing is left.
    """

    seconds: float
    stack_seconds: tuple[float, ...]


def estimate(plan: Plan, left: dict[str, int], budget: float) -> Estimate:
    """Times a few steps of each shape and works out the rest.

    Args:
        plan: The plan.
        left: Steps that are left to train, by run id.
        budget: Seconds that may be spent; shapes beyond it are judged by their arithmetic.
    """
    device = torch.device(plan.device)
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    began = time.perf_counter()
    measured: dict[tuple[str, int], float] = {}
    rate = 0.0  # seconds for an operation, from the shapes timed so far
    seconds = []
    for stack in plan.stacks:
        runs = [run for run in stack.runs if left.get(run.id)]
        if not runs:
            seconds.append(0.0)
            continue
        key = (stack.runs[0].stack_key, len(runs))
        if key not in measured:
            work = run_operations(runs[0]) * len(runs)
            if rate and time.perf_counter() - began > budget:
                measured[key] = rate * work
            else:
                measured[key] = _time_step(runs, stack.engine == "stack", device)
                rate = measured[key] / work if work else rate
        seconds.append(measured[key] * max(left[run.id] for run in runs))
    torch.set_num_threads(threads)
    return Estimate(sum(seconds) / plan.workers, tuple(seconds))


def _time_step(runs: Sequence[Run], stacked: bool, device: torch.device) -> float:
    """Seconds of one training step, evaluation's share included; zero if it breaks."""
    try:
        return _timed(runs, stacked, device)
    except (Exception, SystemExit):  # as in run_bytes
        return 0.0


def _timed(runs: Sequence[Run], stacked: bool, device: torch.device) -> float:
    """The median of a few steps, in seconds."""
    stack = Stack(runs, [None] * len(runs), device, STACK if stacked else SOLO)
    stack.advance(2)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        stack.advance(2)
        times.append((time.perf_counter() - began) / 2)
    settings = runs[0].train.evaluate
    held_out = stack.task.held_out(settings.samples)
    began = time.perf_counter()
    stack.evaluate(held_out)
    return sorted(times)[1] + (time.perf_counter() - began) / settings.every
