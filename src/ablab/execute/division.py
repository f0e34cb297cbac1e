"""Divides the runs of a group into stacks, and estimates how long each takes by a method."""

from collections.abc import Sequence

from ablab.execute.balance import WorkItem, balance, makespan
from ablab.execute.estimate import Estimate
from ablab.execute.group import Alternative, Group

_LARGE = 4  # with this many stacks per process, a grid is large: the shortest are trained first


def is_large(stacks: int, workers: int) -> bool:
    """Whether there are so many stacks per process that they need not be balanced."""
    return stacks >= _LARGE * workers


def work_items(number: int, group: Group, best: Alternative | None) -> list[WorkItem]:
    """A group's runs in stacks of the chosen width, with the seconds that they take.

    They depend on the total number of steps and not on the number left, so that a repeated command
    forms the same stacks.

    Args:
        number: The group's number.
        group: The group.
        best: The method; None if the group's step raises.
    """
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


def stack_estimates(
    group: Group, best: Alternative, widths: Sequence[int], workers: int
) -> list[Estimate]:
    """How long each of a group's stacks takes in one process.

    Args:
        group: The group.
        best: The method.
        widths: The number of runs of each stack.
        workers: The number of processes that train the group at the same time. Each compiles its
            own program, which others read later.
    """
    found: list[Estimate] = []
    start = compiling = 0
    for width in widths:
        part = slice(start, start + width)
        start += width
        compiles = sum(group.left[part]) > 0 and compiling < min(workers, len(widths))
        compiling += compiles
        found.append(best.estimate(group, part, compiles))
    return found


def group_estimate(group: Group, alternative: Alternative, workers: int) -> Estimate:
    """How long the group takes by a method, from its start until its last stack is done.

    Args:
        group: The group.
        alternative: The method.
        workers: The number of processes that train this group at the same time.
    """
    items = work_items(0, group, alternative)
    large = is_large(len(items), workers)
    if not large:
        items = balance(items, workers)
    stacks = stack_estimates(group, alternative, [item.runs for item in items], workers)
    stacks.sort(key=lambda each: each.seconds, reverse=not large)
    return makespan_estimate(stacks, workers)


def makespan_estimate(stacks: Sequence[Estimate], workers: int) -> Estimate:
    """When the last process finishes, if each one takes the next stack as soon as it is free."""
    return Estimate(
        makespan((each.seconds for each in stacks), workers),
        makespan((each.low for each in stacks), workers),
        makespan((each.high for each in stacks), workers),
    )
