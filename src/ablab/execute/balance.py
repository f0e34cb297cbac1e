"""Balancing: divides stacks among processes so that all finish at about the same time."""

import heapq
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

_CLOSE_ENOUGH = 0.97  # a makespan is close enough if the best one is this fraction of it
_MAX_ITEMS = 64  # beyond this many items, a split gains too little to be worth the search


@dataclass(frozen=True)
class WorkItem:
    """Runs of one group that one process trains together.

    Attributes:
        group: The group's number.
        runs: The number of runs.
        run_seconds: Seconds per run.
        compile_seconds: Seconds that each process needs to compile the group's program.
        divisible: Whether fewer runs take proportionally less time.
    """

    group: int
    runs: int
    run_seconds: float
    compile_seconds: float = 0.0
    divisible: bool = False

    @property
    def seconds(self) -> float:
        """Seconds in a process that has not compiled the group's program yet."""
        return self.run_seconds * self.runs + self.compile_seconds


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last process finishes, if each one takes the next item as soon as it is free.

    Args:
        seconds: Seconds per item, in order.
        workers: The number of processes.
    """
    free = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def balance(items: Sequence[WorkItem], workers: int) -> list[WorkItem]:
    """Splits divisible items if the processes then finish earlier.

    Processes are assumed to take the longest item first.

    Args:
        items: In any order. The order is preserved; the parts of an item stay adjacent.
        workers: The number of processes.
    """
    states = [list(items)]
    ends = [_ends(items, workers)]
    while workers > 1 and len(states[-1]) < _MAX_ITEMS:
        split = min(_splits(states[-1]), key=lambda each: _ends(each, workers), default=None)
        if split is None or _ends(split, workers) >= ends[-1]:
            break
        states.append(split)
        ends.append(_ends(split, workers))
    # The fewest items that come close to the best, because each may have a program to compile.
    enough = ends[-1][0] / _CLOSE_ENOUGH
    return next(state for state, (end, _) in zip(states, ends, strict=True) if end <= enough)


def stagger(
    seconds: Sequence[float], programs: Sequence[tuple[Hashable, float]], workers: int
) -> list[int]:
    """An order in which no process takes an item whose program another one is just compiling.

    So each program is compiled once, and read by the other processes. Where only such items are
    left, processes take the next one.

    Args:
        seconds: Seconds per item, in the order in which items would be taken otherwise.
        programs: The program of each item, and the seconds that compiling it takes.
        workers: The number of processes.

    Returns:
        The items by their places; those that take no time last.
    """
    left = [place for place, each in enumerate(seconds) if each]
    free = [0.0] * workers
    compiled: dict[Hashable, float] = {}
    found = []
    while left:
        now = free[0]
        place = next(
            (each for each in left if compiled.get(programs[each][0], now) <= now), left[0]
        )
        left.remove(place)
        found.append(place)
        program, compiling = programs[place]
        compiled.setdefault(program, now + compiling)
        heapq.heapreplace(free, now + seconds[place])
    return [*found, *(place for place, each in enumerate(seconds) if not each)]


def _splits(items: Sequence[WorkItem]) -> Iterator[list[WorkItem]]:
    """Every way to split one of the items in two; equal items are split once."""
    seen = set()
    for number, item in enumerate(items):
        equal = (item.runs, item.run_seconds, item.compile_seconds)
        if not item.divisible or equal in seen:
            continue
        seen.add(equal)
        for taken in range(1, item.runs // 2 + 1):
            parts = [replace(item, runs=item.runs - taken), replace(item, runs=taken)]
            yield [*items[:number], *parts, *items[number + 1 :]]


def _ends(items: Sequence[WorkItem], workers: int) -> tuple[float, float]:
    """When the last process finishes, and the sum of squares of when each one does."""
    free = [0.0] * workers
    compiled: set[tuple[int, int]] = set()
    for item in sorted(items, key=lambda each: each.seconds, reverse=True):
        first = min(range(workers), key=free.__getitem__)
        again = (first, item.group) in compiled
        compiled.add((first, item.group))
        free[first] += item.seconds - item.compile_seconds * again
    return max(free), sum(end * end for end in free)
