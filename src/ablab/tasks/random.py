"""Counter-based random numbers: each draw is a function of only (seed, stream, position).

The generator is Philox4x64-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011) as NumPy ships it. NumPy promises that a bit generator's raw stream never
changes (NEP 19). This module uses only raw words and maps them to ranges itself, so a batch is the
same on every machine and release.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**32 - 1
_WORDS_PER_BLOCK = 4  # Philox4x64 yields four 64-bit words for each value of its counter


class Stream(IntEnum):
    """The purpose of random numbers; draws from different streams are independent."""

    BATCH = 1
    DROPOUT = 2
    EVALUATION = 3
    INITIAL = 4
    PERMUTATION = 5
    REDRAW = 6
    SPLIT = 7
    PROBE = 8
    CONTRAST = 9


def words(seed: int, stream: Stream, first: int, rows: int, row_words: int) -> NDArray[np.uint64]:
    """Raw 64-bit words for ``rows`` consecutive positions of a stream, from position ``first``.

    Row r is a function of only (seed, stream, first + r, row_words), independent of ``rows``.

    Args:
        seed: The seed of the run, 0 to 2**32 - 1.
        stream: The purpose of the numbers.
        first: The first position (for example, a step); not negative.
        rows: The number of positions.
        row_words: The number of words per position.

    Returns:
        An array of shape (rows, row_words).
    """
    blocks = -(-row_words // _WORDS_PER_BLOCK)
    # NumPy increments the counter before using it, so the first block is counter + 1. This shift
    # is the same for every draw and needs no correction.
    generator = np.random.Philox(key=[seed, int(stream)], counter=[first * blocks, 0, 0, 0])
    drawn: NDArray[np.uint64] = generator.random_raw(rows * blocks * _WORDS_PER_BLOCK)
    return drawn.reshape(rows, blocks * _WORDS_PER_BLOCK)[:, :row_words]


def integers(
    seed: int, stream: Stream, first: int, rows: int, count: int, below: int
) -> NDArray[np.int64]:
    """Uniform integers in [0, below), of shape (rows, count), one row per position.

    Uses the high part of a 32-bit draw times ``below`` (Lemire, "Fast random integer generation in
    an interval", 2019, without the rejection step): the bias is under below / 2**32.
    """
    raw = words(seed, stream, first, rows, -(-count // 2))
    halves = np.ascontiguousarray(raw).view("<u4")[:, :count].astype(np.uint64)
    return ((halves * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def wide_integers(
    seed: int, stream: Stream, first: int, rows: int, count: int, below: int
) -> NDArray[np.int64]:
    """Uniform integers in [0, below), like :func:`integers`, but each from a complete 64-bit word.

    The bias is under below / 2**64; ``below`` is at most 2**32.
    """
    return scaled(words(seed, stream, first, rows, count), below)


def scaled(raw: NDArray[np.uint64], below: int) -> NDArray[np.int64]:
    """Maps random 64-bit words to [0, below): the high word of the product of word and bound.

    Args:
        raw: Words of any shape.
        below: The bound, 1 to 2**32.
    """
    factor = np.uint64(below)
    high, low = raw >> np.uint64(32), raw & np.uint64(0xFFFFFFFF)
    return ((high * factor + ((low * factor) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def permuted(
    seed: int,
    epochs: NDArray[np.int64],
    positions: NDArray[np.int64],
    size: int,
    stream: Stream = Stream.PERMUTATION,
) -> NDArray[np.int64]:
    """Permutes ``positions`` by a keyed permutation of range(size) that depends on the epoch.

    Each (seed, epoch) has its own permutation, and single elements are computed without the
    rest: an eight-round Feistel network on the mixed-radix digits of a position, with cycle walking
    for values outside of the range (Black and Rogaway, "Ciphers with arbitrary finite domains",
    CT-RSA 2002).

    Args:
        seed: The seed of the run.
        epochs: The epoch of each position, of any shape.
        positions: The positions, in [0, size), of the same shape.
        size: The number of elements to permute.
        stream: The purpose of the permutation.

    Returns:
        The permuted positions, of the same shape, in [0, size).
    """
    rounds = 8
    low_size = max(1, int(np.ceil(np.sqrt(size))))
    high_size = -(-size // low_size)
    keys = np.empty((rounds, *epochs.shape), dtype=np.uint64)
    for epoch in np.unique(epochs):
        epoch_keys = words(seed, stream, int(epoch), 1, rounds)[0]
        keys[:, epochs == epoch] = epoch_keys[:, None]
    result = positions.astype(np.uint64)
    outside = np.ones(positions.shape, dtype=bool)
    while outside.any():
        value = result[outside]
        high, low = value // np.uint64(low_size), value % np.uint64(low_size)
        for round_ in range(rounds):
            key = keys[round_][outside]
            if round_ % 2:
                low = (low + mix64(high ^ key) % np.uint64(low_size)) % np.uint64(low_size)
            else:
                high = (high + mix64(low ^ key) % np.uint64(high_size)) % np.uint64(high_size)
        result[outside] = high * np.uint64(low_size) + low
        outside = result >= np.uint64(size)
    return result.astype(np.int64)


def mix64(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014), for any shape."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
