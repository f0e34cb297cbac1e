"""Samples kept out of training by what they are, so that no step of any seed can meet them.

A keyed hash of a sample says on which side it is. Training draws from one side, evaluation from the
other. Does not import torch.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.random import Stream, mix64, scaled, words

FEWEST = 64
SMALLEST = 0.001  # of a smaller side, a sample would take too long to find
_ENUMERATED = 2**14  # spaces up to this size are looked through, to see that no side is empty
_EXPECTED = 64  # of a larger space, the samples to expect on a side: none with probability e**-64
_ATTEMPTS = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment, 2**64 over the golden ratio
_KEY = np.uint64(0x61626C6162000001)  # fixed for good: which samples are held out hangs on it


@dataclass(frozen=True)
class Split:
    """A space of sequences of which a share is held out.

    Sequences are rows of ``longest`` columns of integers in [0, below); a shorter one is filled up
    with ``below``.

    Attributes:
        share: The share of the space that is held out.
        below: How many values a column takes.
        longest: Columns of the longest sequence.
        shortest: Columns of the shortest.
    """

    share: float
    below: int
    longest: int
    shortest: int

    @property
    def size(self) -> int:
        """How many sequences there are."""
        # The sum of below**n for all lengths n, as a geometric series.
        beyond: int = self.below ** (self.longest + 1) - self.below**self.shortest
        return beyond // (self.below - 1)

    def problem(self) -> str | None:
        """Why the share cannot be held out, as a sentence; None where it can."""
        if self.share == 0:
            return None
        if not SMALLEST <= self.share <= 1 - SMALLEST:
            return (
                f"held_out {self.share} is too near to {round(self.share)}: give a share from "
                f"{SMALLEST} to {1 - SMALLEST}, or held_out: 0"
            )
        if self.size < FEWEST:
            return (
                f"held_out {self.share} of only {self.size} different samples cannot be kept out "
                f"of training: give a task of at least {FEWEST}, or held_out: 0"
            )
        if _has_two_sides(self):
            return None
        return (
            f"held_out {self.share} of {self.size:,} different samples leaves too few on one "
            f"side: give a share nearer to a half, or held_out: 0"
        )

    def is_held_out(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of some sequences is on the held-out side.

        The same for every seed. The hash is SplitMix64's finaliser folded over the columns.

        Args:
            rows: Sequences, of shape (…, longest).

        Returns:
            Truth values of shape (…).
        """
        flat = rows.reshape(-1, rows.shape[-1]).astype(np.uint64)
        value = np.full(len(flat), _KEY)
        for column in range(flat.shape[-1]):
            value = mix64((value ^ flat[:, column]) + _GOLDEN)
        below = np.uint64(round(self.share * 2**53))
        return ((value >> np.uint64(11)) < below).reshape(rows.shape[:-1])

    def on_side(
        self, rows: NDArray[np.int64], seed: int, first: int, held_out: bool
    ) -> NDArray[np.int64]:
        """Random sequences, with those of the wrong side replaced by random ones of the right side.

        A replacement has its sequence's length, is drawn again up to 64 times, and is then found by
        counting up from the last draw, which ends because neither side is empty. Row r is a
        function of (seed, first + r) and of what it was.

        Args:
            rows: Sequences of shape (rows, samples, longest), row r for position first + r.
            seed: The run's seed.
            first: The first position (a step).
            held_out: The side that is wanted.

        Returns:
            Sequences of the same shape.
        """
        steps, samples, columns = rows.shape
        result = rows.reshape(-1, columns).copy()
        wrong = np.flatnonzero(self.is_held_out(result) != held_out)
        if not wrong.size:
            return rows
        keys = words(seed, Stream.REDRAW, first, steps, samples).reshape(-1)
        for attempt in range(_ATTEMPTS):
            counters = np.arange(attempt * columns, (attempt + 1) * columns, dtype=np.uint64)
            raw = mix64(keys[wrong, None] + _GOLDEN * (counters + np.uint64(1)))
            before = result[wrong]
            result[wrong] = np.where(before == self.below, self.below, scaled(raw, self.below))
            wrong = wrong[self.is_held_out(result[wrong]) != held_out]
            if not wrong.size:
                break
        while wrong.size:
            result[wrong] = self._following(result[wrong])
            wrong = wrong[self.is_held_out(result[wrong]) != held_out]
        return result.reshape(rows.shape)

    def _following(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each sequence plus one; after the last of a length comes the first of the next."""
        result = rows.copy()
        carry = np.ones(len(rows), dtype=bool)
        for column in reversed(range(self.longest)):
            inside = result[:, column] != self.below
            result[:, column] += carry & inside
            overflow = inside & (result[:, column] == self.below)
            result[overflow, column] = 0
            carry = np.where(inside, overflow, carry)
        lengths = (rows != self.below).sum(-1)
        longer = np.where(lengths == self.longest, self.shortest, lengths + 1)[carry]
        result[carry] = np.where(np.arange(self.longest) < longer[:, None], 0, self.below)
        return result


@lru_cache(maxsize=64)
def _has_two_sides(split: Split) -> bool:
    if split.size > _ENUMERATED:
        return split.size >= _EXPECTED / min(split.share, 1 - split.share)
    found = set()
    for length in range(split.shortest, split.longest + 1):
        numbers = np.arange(split.below**length)
        rows = np.full((len(numbers), split.longest), split.below)
        for column in range(length):
            rows[:, column] = numbers // split.below**column % split.below
        found |= set(split.is_held_out(rows).tolist())
    return found == {True, False}


def distinct(rows: NDArray[np.int64], samples: int) -> NDArray[np.int64]:
    """The first ``samples`` different rows, in their order; fewer where there are not as many."""
    _, firsts = np.unique(rows, axis=0, return_index=True)
    chosen: NDArray[np.int64] = rows[np.sort(firsts)[:samples]]
    return chosen
