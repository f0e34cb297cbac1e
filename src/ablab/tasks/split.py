"""Holds samples out of training by their content, so that no step of any seed contains them.

A keyed hash assigns each sample to a side. Training draws from one side, evaluation from the other.
Does not import torch.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.random import Stream, mix64, scaled, words

FEWEST = 64
SMALLEST = 0.001  # finding a sample of a smaller side would take too long
_ENUMERATED = 2**14  # up to this size, all samples are enumerated to check that no side is empty
_EXPECTED = 64  # expected samples per side in larger spaces; it is empty with probability e**-64
_ATTEMPTS = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment, 2**64 over the golden ratio
_KEY = np.uint64(0x61626C6162000001)  # must never change: it determines which samples are held out


@dataclass(frozen=True)
class Split:
    """A space of sequences, a share of which is held out.

    Sequences are rows of ``longest`` integers in [0, below); shorter ones are padded with
    ``below``.

    Attributes:
        share: The held-out share of the space.
        below: The number of values per column.
        longest: The length of the longest sequence.
        shortest: The length of the shortest sequence.
    """

    share: float
    below: int
    longest: int
    shortest: int

    @property
    def size(self) -> int:
        """The number of sequences in the space."""
        # The sum of below**n over all lengths n, as a geometric series.
        beyond: int = self.below ** (self.longest + 1) - self.below**self.shortest
        return beyond // (self.below - 1)

    def rows(self) -> NDArray[np.int64]:
        """All sequences of a small space, each once, of shape (size, longest)."""
        found = []
        for length in range(self.shortest, self.longest + 1):
            numbers = np.arange(self.below**length)
            rows = np.full((len(numbers), self.longest), self.below)
            for column in range(length):
                rows[:, column] = numbers // self.below ** (length - 1 - column) % self.below
            found.append(rows)
        return np.concatenate(found)

    def problem(self) -> str | None:
        """Why the share cannot be held out, as a sentence; None if it can."""
        if self.share == 0:
            return None
        if not SMALLEST <= self.share <= 1 - SMALLEST:
            return (
                f"held_out {self.share} is too close to {round(self.share)}: use a share from "
                f"{SMALLEST} to {1 - SMALLEST}, or held_out: 0"
            )
        if self.size < FEWEST:
            return (
                f"held_out {self.share}: the task has only {self.size} distinct samples; use a "
                f"task with at least {FEWEST}, or held_out: 0"
            )
        if _has_two_sides(self):
            return None
        return (
            f"held_out {self.share} of {self.size:,} distinct samples leaves too few on one "
            f"side: use a share closer to 0.5, or held_out: 0"
        )

    def is_held_out(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether sequences are held out; the same for every seed.

        The hash is SplitMix64's finalizer, folded over the columns.

        Args:
            rows: Sequences, of shape (…, longest).

        Returns:
            Booleans of shape (…).
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
        """Replaces random sequences on the wrong side by random sequences on the correct side.

        A replacement has the length of the original sequence. It is redrawn up to 64 times, and
        then found by counting up from the last draw, which terminates because neither side is
        empty. Row r is a function of (seed, first + r) and of the original row.

        Args:
            rows: Sequences of shape (rows, samples, longest); row r is for position first + r.
            seed: The seed of the run.
            first: The first position (a step).
            held_out: The requested side.

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
        """Each sequence plus one; the last sequence of a length is followed by the next length."""
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
    return len(np.unique(split.is_held_out(split.rows()))) == 2


def distinct(rows: NDArray[np.int64], samples: int) -> NDArray[np.int64]:
    """The first ``samples`` distinct rows in order, or all if there are fewer."""
    return distinct_and_counts(rows)[0][:samples]


def distinct_and_counts(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct rows in the order of their first occurrence, and how often each occurs."""
    size = rows.shape[1] * rows.itemsize
    joined = np.ascontiguousarray(rows).view(np.dtype((np.void, size)))[:, 0]
    # Several times as fast as with axis=0.
    _, firsts, counts = np.unique(joined, return_index=True, return_counts=True)
    order = np.argsort(firsts)
    found: NDArray[np.int64] = rows[firsts[order]]
    return found, counts[order]
