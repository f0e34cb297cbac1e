"""How stacks are shared among processes, so that all end at about the same time."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

_WORTH = 0.97  # of the time: what is less is not worth more pieces
_MANY = 64  # pieces, from which on one more makes no difference that is worth the search


@dataclass(frozen=True)
class Piece:
    """Some runs of one group, which one process trains.

    Attributes:
        group: The group's number.
        runs: How many runs.
        each: Seconds of one run.
        once: Seconds that a process needs besides, for compiling the group's program.
        divisible: Whether fewer runs take less time in proportion.
    """

    group: int
    runs: int
    each: float
    once: float = 0.0
    divisible: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of a process that has not trained the group before."""
        return self.each * self.runs + self.once


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last of some processes is done, which take work in order."""
    free = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def level(pieces: Sequence[Piece], workers: int) -> list[Piece]:
    """Cuts divisible pieces where that lets processes, which take the dearest first, end sooner.

    Args:
        pieces: In any order, which is kept; what is cut stays together.
        workers: Processes.
    """
    states = [list(pieces)]
    costs = [_cost(pieces, workers)]
    while workers > 1 and len(states[-1]) < _MANY:
        cut = min(_cuts(states[-1]), key=lambda each: _cost(each, workers), default=None)
        if cut is None or _cost(cut, workers) >= costs[-1]:
            break
        states.append(cut)
        costs.append(_cost(cut, workers))
    # The fewest pieces that come near the best, for each may have a program to compile.
    enough = costs[-1][0] / _WORTH
    return next(state for state, (end, _) in zip(states, costs, strict=True) if end <= enough)


def _cuts(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces with one of them in two, in each way that makes a difference."""
    seen = set()
    for number, piece in enumerate(pieces):
        alike = (piece.runs, piece.each, piece.once)
        if not piece.divisible or alike in seen:
            continue
        seen.add(alike)
        for taken in range(1, piece.runs // 2 + 1):
            parts = [replace(piece, runs=piece.runs - taken), replace(piece, runs=taken)]
            yield [*pieces[:number], *parts, *pieces[number + 1 :]]


def _cost(pieces: Sequence[Piece], workers: int) -> tuple[float, float]:
    """When the last process is done, and how unequal they are."""
    free = [0.0] * workers
    compiled: set[tuple[int, int]] = set()
    for piece in sorted(pieces, key=lambda each: each.seconds, reverse=True):
        first = min(range(workers), key=free.__getitem__)
        again = (first, piece.group) in compiled
        compiled.add((first, piece.group))
        free[first] += piece.seconds - piece.once * again
    return max(free), sum(end * end for end in free)
