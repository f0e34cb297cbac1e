"""Exact permutation tests, and the least p-value that few seeds can give."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from ablab.read.statistics.array import Array

_EXACT = 20_000
"""With more arrangements, a random sample of this many is taken."""


def least_p(runs: int, other_runs: int) -> float:
    """The least two-sided p-value of a permutation test of two cells: 0.10 for 3 vs 3."""
    if runs < 1 or other_runs < 1:
        return 1.0
    sides = 2 if runs == other_runs else 1
    return min(1.0, sides / math.comb(runs + other_runs, runs))


def least_paired_p(pairs: int) -> float:
    """The least two-sided p-value if the signs of paired differences are permuted: 0.25 for 3."""
    return min(1.0, 2.0 ** (1 - pairs))


def permutation_test(first: Array, second: Array, blocks: bool = False) -> float:
    """The two-sided p-value of a difference of the means of two samples, by permutation.

    Exact up to 20,000 arrangements, else from 20,000 random ones with a fixed seed. Of ranks it is
    Wilcoxon's test, with ties.

    Args:
        first: The first sample, (runs,).
        second: The second sample, (runs,).
        blocks: Whether runs at the same place (of a seed) are exchanged with each other only.
    """
    fewest = min(len(first), len(second))
    if not fewest or (blocks and fewest == 1):
        return 1.0
    if fewest == 1:  # SciPy asks for two
        return _one_against(first, second) if len(first) == 1 else _one_against(second, first)

    def means(x: Array, y: Array, axis: int) -> Array:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    found = stats.permutation_test(
        (first, second),
        means,
        permutation_type="samples" if blocks else "independent",
        vectorized=True,
        n_resamples=_EXACT,
        rng=np.random.default_rng(0),
    )
    return min(1.0, float(found.pvalue))


def _one_against(one: Array, others: Array) -> float:
    """The same of a sample of one run, for which any of all runs is exchanged."""
    values = np.concatenate([one, others])
    near = 1e-14 * float(np.abs(values).max())
    sides = (values >= one[0] - near).mean(), (values <= one[0] + near).mean()
    return min(1.0, 2 * float(min(sides)))


def order_test(samples: Sequence[Array], places: Sequence[float], blocks: bool = False) -> float:
    """The p-value that values rise with the places of their samples, by permutation; two-sided.

    The sum of products of places and values is compared with that of other assignments of the
    values to the samples; of ranks it is Spearman's test with ties, and in blocks Page's. It is 1
    if they fall.

    Args:
        samples: The values at each place, each (runs,).
        places: The places, whose mean is zero.
        blocks: Whether values at the same place of the samples (of a seed) are exchanged with each
            other only; all samples then have equally many.
    """
    if blocks:
        return _order_in_blocks(np.stack(samples), np.asarray(places))
    x = np.concatenate([np.full(len(v), p) for v, p in zip(samples, places, strict=True)])
    values = np.concatenate(samples)
    values = values - values.mean()

    def product(given: Array, axis: int = -1) -> Array:
        return np.asarray((given * values).sum(axis=axis))

    if product(x) <= 0:
        return 1.0
    found = stats.permutation_test(
        (x,), product, permutation_type="pairings", vectorized=True, n_resamples=_EXACT,
        alternative="greater", rng=np.random.default_rng(0),
    )  # fmt: skip
    return min(1.0, 2 * float(found.pvalue))


def _order_in_blocks(values: Array, places: Array) -> float:
    """The same, where values are exchanged within columns; SciPy has no such permutation.

    Args:
        values: The values, (places, blocks).
        places: The places, (places,).
    """
    count, blocks = values.shape
    observed = float((places @ values).sum())
    if not blocks or observed <= 0:
        return 1.0
    if math.factorial(count) ** blocks <= _EXACT:
        orders = np.array(list(itertools.permutations(places)))
        sums = np.zeros(1)
        for column in values.T:
            sums = np.add.outer(sums, orders @ column).ravel()
        p = float((sums >= observed - 1e-9 * abs(observed)).mean())
    else:
        given = np.broadcast_to(places, (_EXACT, blocks, count))
        drawn = np.random.default_rng(0).permuted(given, axis=-1)
        sums = np.einsum("dbp,pb->d", drawn, values)
        # The observed order is one of the possible ones (Phipson and Smyth, 2010).
        p = (1 + float((sums >= observed - 1e-9 * abs(observed)).sum())) / (1 + _EXACT)
    return min(1.0, 2 * p)
