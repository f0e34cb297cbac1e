"""What exchanging the operands changes, beside what other samples change. Axes: N, P, M numbers."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.analysis.methods.pairing import partners

_ROUNDING = 1e-10  # of squares; float32 rounds at 1e-7
_CHUNK = 2**15  # numbers at once, which fit in a core's cache
_HALF = 0.5  # the least share of samples that must have what they are compared with


@dataclass(frozen=True)
class SwapChange:
    """Changes of numbers, by unit, such as a neuron, (M,) each.

    What is compared with other samples is NaN where these differ by no more than rounding, and what
    is compared with samples that have the same targets where fewer than half have such another one.

    Attributes:
        size: The root mean square of the unit.
        spread: Its standard deviation over samples.
        change: The root mean square change by the exchange.
        relative: The change over that by another sample.
        relative_same_answer: The change over that by another sample with the same targets.
        p: How often other samples change as little.
        p_same_answer: How often other samples with the same targets change as little; NaN where
            fewer than half have two such others to choose from.
    """

    size: NDArray[np.float64]
    spread: NDArray[np.float64]
    change: NDArray[np.float64]
    relative: NDArray[np.float64]
    relative_same_answer: NDArray[np.float64]
    p: NDArray[np.float64]
    p_same_answer: NDArray[np.float64]


def swap_change(
    values: NDArray[np.float64],
    swapped: NDArray[np.float64],
    weights: NDArray[np.float64],
    classes: NDArray[np.int64],
    pairings: int,
    seed: int,
) -> SwapChange:
    """The change of each unit by the exchange.

    Args:
        values: The numbers of each sample, (N, M, X), with M units of X numbers each, whose squares
            are summed.
        swapped: Those of the sample with its operands exchanged.
        weights: The weights of the samples, (N,).
        classes: The class of samples with the same targets, (N,).
        pairings: The number of random pairings.
        seed: Their seed.
    """
    weights = weights / weights.sum()
    differences = values - swapped
    change = _mean_square(differences, weights)
    centred = values - np.tensordot(weights, values, axes=1)
    rng = np.random.default_rng(seed)
    every = np.zeros(len(values), dtype=np.int64)
    free, same = (
        np.stack([_paired(values, weights, partners(own, weights, rng)) for _ in range(pairings)])
        for own in (every, classes)
    )
    floor = _ROUNDING * _mean_square(values, weights)
    sizes = np.bincount(classes)[classes]
    ratios = []
    for drawn, others in ((free, np.full(len(values), len(values))), (same, sizes)):
        known, two = others > 1, others > 2
        mean, own = drawn.mean(0), np.full(len(change), np.nan)
        if weights[known].sum() >= _HALF:
            own = _mean_square(differences[known], weights[known] / weights[known].sum())
        exists = mean > floor
        ratio = np.sqrt(own / np.where(exists, mean, np.nan))
        p = (1 + (drawn <= own).sum(0)) / (1 + pairings)
        exists &= np.isfinite(own) & (weights[two].sum() >= _HALF)
        ratios.append((ratio, np.where(exists, p, np.nan)))
    return SwapChange(
        np.sqrt(_mean_square(values, weights)),
        np.sqrt(_mean_square(centred, weights)),
        np.sqrt(change),
        ratios[0][0],
        ratios[1][0],
        ratios[0][1],
        ratios[1][1],
    )


def _paired(
    values: NDArray[np.float64], weights: NDArray[np.float64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The mean square difference from partners, for samples that have one; NaN if none has."""
    known = np.flatnonzero(others >= 0)
    if not len(known):
        return np.full(values.shape[1], np.nan)
    own = weights[known]
    return _mean_square(values, own / own.sum(), (known, others[known]))


def _mean_square(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> NDArray[np.float64]:
    """The weighted mean of squares by unit, (M,).

    It is the same bit for bit if differences are given or taken here, so that ties count as such.

    Args:
        values: The numbers, (N, M, X).
        weights: The weights of the samples, or of pairs.
        pairs: The samples of pairs whose differences are squared; by default the numbers are.
    """
    step = max(1, _CHUNK // max(1, math.prod(values.shape[1:])))
    total = np.zeros(values.shape[1])
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        own = values[part]
        if pairs is not None:
            own = values[pairs[0][part]]
            own -= values[pairs[1][part]]
        total += np.einsum("n,nmx,nmx->m", weights[part], own, own)
    return total
