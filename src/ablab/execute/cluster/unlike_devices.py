"""Cores and GPUs in one cluster: what each kind of device trains, and how it is planned there.

The command times steps on a device of its own, and forms stacks for it. An agent whose device is of
another kind gets the runs of several such stacks at once and plans them anew: it times their steps
on its own device and chooses method and width for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ablab.config import InputError
from ablab.execute.options import DeviceName, Engine, Options
from ablab.execute.plan import Plan, make_plan
from ablab.execute.queue import steps_left
from ablab.execute.resume import last_devices, last_methods
from ablab.execute.speeds import Speeds
from ablab.store.store import Store

_MOST_RUNS = 512  # that an agent plans at once
LEAST_RUNS = 8  # of a stack that is divided; narrow stacks are slow
_SHARE = 0.5  # of an agent's fair share of what is left, which it gets at once


def places(resources: Mapping[str, Any], device: DeviceName) -> dict[str, int]:
    """How many agents a machine has place for, by the kind of device that each trains on.

    Args:
        resources: The numbers of its ``CPU`` and ``GPU``.
        device: The device that the user asked for; ``auto`` uses GPUs, and the cores that are left
            when each GPU's agent has one.
    """
    cores, gpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU"))
    match device:
        case "cuda":
            found = {"cuda": gpus}
        case "auto":
            found = {"cuda": gpus, "cpu": max(0, cores - gpus)}
        case _:
            found = {device: cores}
    return {kind: count for kind, count in found.items() if count}


def why_lacking(device: str | None) -> str:
    """Why this machine cannot train on a kind of device; empty if it can, as it can on a CPU."""
    if device in (None, "cpu"):
        return ""
    from ablab.execute.device import find_device  # torch: agents with cores need it in no process

    try:
        find_device(_named(device))
    except InputError as error:
        return error.problems[0].message
    return ""


def at_once(seconds: Sequence[float], runs: Sequence[int], share: float) -> int:
    """How many of some like stacks an agent plans at once, at least one.

    Half of its fair share of all that is left, so that what it gets shrinks towards the end and
    machines of any pace end together (guided self-scheduling: Polychronopoulos and Kuck, IEEE
    Transactions on Computers C-36, 1987).

    Args:
        seconds: The estimated length of each.
        runs: The number of runs of each.
        share: The agent's fair share, in the same seconds.
    """
    count, time, width = 1, seconds[0], runs[0]
    for more, wider in zip(seconds[1:], runs[1:], strict=True):
        time, width = time + more, width + wider
        if time > _SHARE * share or width > _MOST_RUNS:
            break
        count += 1
    return count


def runs_at_once(seconds: float, runs: int, share: float) -> int:
    """How many runs of one stack an agent plans at once: a core gets a part of a GPU's stack.

    Args:
        seconds: The estimated length of the stack.
        runs: The number of its runs.
        share: The agent's fair share of all that is left, in the same seconds.
    """
    return min(runs, _MOST_RUNS, max(LEAST_RUNS, int(runs * _SHARE * share / seconds)))


def _named(device: str) -> DeviceName:
    return next(each for each in get_args(DeviceName) if each == device)


def planned_here(plan: Plan, store: Store, experiment: int, device: str, engine: Engine) -> Plan:
    """The plan of a claim, made anew for this machine's device.

    Args:
        plan: The plan that the command has made.
        store: The store of the claim.
        experiment: The experiment's number in it.
        device: The device.
        engine: The user's option.

    Raises:
        InputError: This machine has no such device.
    """
    runs = [run for stack in plan.stacks for run in stack.runs]
    ids = [run.id for run in runs]
    left = steps_left(store.members(experiment, ids), until=plan.until)
    options = Options(
        engine, _named(device), workers=1, compiling=plan.compiling, threads=plan.threads
    )
    devices, methods = last_devices(store, ids), last_methods(store, runs)
    before = {run: method for run, method in methods.items() if devices.get(run) == device}
    speeds = Speeds()
    new = make_plan(runs, options, left, speeds, before)
    speeds.save()
    return replace(new, until=plan.until)
