"""How much of the variance of numbers labels explain. Axes: N samples, F groups of X numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import gamma

_CONSTANT = 1e-4


@dataclass(frozen=True)
class Explained:
    """The share of the variance that labels explain in each group of numbers, and by chance.

    Attributes:
        share: The correlation ratio η² of each group, (F,); NaN if its standard deviation is below
            1e-4 of its root mean square, as rounding can make that.
        null: The mean share with permuted labels, (F,).
        high: Its 95th percentile, (F,).
        p: How often permuted labels explain at least as much, (F,), from a gamma distribution with
            the mean and the variance of the permutations.
    """

    share: NDArray[np.float64]
    null: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]


def explained_by_labels(
    values: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    permutations: int,
    seed: int,
    used: NDArray[np.bool_] | None = None,
) -> Explained:
    """The variance of the means by label over the variance, summed over the numbers of a group.

    With few permutations, many p-values could not be corrected, so their tail is that of a gamma
    distribution (Winkler et al., "Faster permutation inference in brain imaging", 2016).

    Args:
        values: Numbers of each sample, (N, F, X), with F groups of X numbers.
        labels: The labels, (N,).
        weights: The weights of the samples, (N,).
        permutations: The number of permutations of the labels.
        seed: Their seed.
        used: Which numbers count, (N, F, X); by default, all. Each column has its own samples.
    """
    groups = values.shape[1]
    weights = weights / weights.sum()
    own = np.broadcast_to(weights[:, None, None], values.shape)
    own = own if used is None else own * used
    counted = own.sum(0)  # (F, X)
    counted = np.where(counted > 0, counted, 1.0)
    centred = values - (own * values).sum(0) / counted
    total = (own * centred**2).sum((0, 2))  # (F,)
    classes = np.unique(labels, return_inverse=True)[1].ravel()
    rows = np.arange(len(labels))
    indicator = sparse.csr_array((np.ones(len(labels)), (classes, rows)))
    columns = values.shape[1] * values.shape[2]
    sizes_of = weights[:, None] if used is None else own.reshape(len(values), -1)
    weighted = np.concatenate([(own * centred).reshape(len(values), -1), sizes_of], axis=-1)

    def between(order: NDArray[np.int64]) -> NDArray[np.float64]:
        sums = indicator @ weighted[order]  # the columns after the numbers are sums of weights
        sizes = sums[:, columns:]
        squares = sums[:, :columns] ** 2 / np.where(sizes > 0, sizes, 1)
        found: NDArray[np.float64] = squares.sum(0).reshape(groups, -1).sum(-1)
        return found

    rng = np.random.default_rng(seed)
    observed = between(rows)
    drawn = np.stack([between(rng.permutation(len(labels))) for _ in range(permutations)])
    varies = total > _CONSTANT**2 * (own * values**2).sum((0, 2))
    scale = np.where(varies, total, np.nan)
    return Explained(
        observed / scale,
        drawn.mean(0) / scale,
        np.quantile(drawn, 0.95, axis=0) / scale,
        _gamma_tail(observed / scale, drawn / scale),
    )


def _gamma_tail(observed: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of at least what was observed, (F,), from draws, (draws, F)."""
    mean, variance = drawn.mean(0), drawn.var(0)
    spread = variance > (1e-9 * mean) ** 2
    variance = np.where(spread, variance, 1.0)
    tail: NDArray[np.float64] = gamma.sf(observed, mean**2 / variance, scale=variance / mean)
    return np.where(spread | np.isnan(observed), tail, 1.0)
