"""A permutation test of values against outcomes that were not assigned, with the seed as the unit.

Runs of a seed share their batches, so their outcomes in several cells are alike and so may be their
values. What is exchanged is therefore a seed's outcomes in all cells with those of another seed.
That is exact for independent seeds, whatever runs of a seed have in common.
"""

import itertools
import math
from collections import Counter

import numpy as np
from scipy import stats

from ablab.read.statistics.array import Array, Flags

_DRAWN = 20_000
_EXACT = 7  # seeds: 7! = 5,040 orders
_TIE = 1e-9


def exchanged_seeds(values: Array, outcomes: Flags) -> tuple[float, float]:
    """The p-values that values are lower, and higher, with the outcome; two-sided.

    The statistic is the sum over the runs with the outcome of van Elteren's scores (1960): the rank
    within the cell less its mean, over the number of runs plus one. All orders of the seeds are
    taken up to seven seeds, else 20,000 random ones with a fixed seed, of which the observed order
    is one more (Phipson and Smyth, 2010).

    Args:
        values: The values, (cells, seeds).
        outcomes: Whether a run has the outcome, (cells, seeds).
    """
    seeds = values.shape[1]
    if not seeds:
        return 1.0, 1.0
    scores = (stats.rankdata(values, axis=1) - (seeds + 1) / 2) / (seeds + 1)
    orders, more = _orders(seeds)
    products = scores.T @ outcomes  # of one seed's scores with another seed's outcomes
    drawn = products[np.arange(seeds), orders].sum(axis=1)
    observed = float(np.trace(products))
    tails = (drawn <= observed + _TIE).sum(), (drawn >= observed - _TIE).sum()
    low, high = (min(1.0, 2 * float((more + each) / (more + len(drawn)))) for each in tails)
    return low, high


def least_p(outcomes: Flags) -> float:
    """The least two-sided p-value of :func:`exchanged_seeds`: 0.2 for three and two seeds alike.

    Args:
        outcomes: Whether a run has the outcome, (cells, seeds).
    """
    alike = Counter(column.tobytes() for column in outcomes.T)
    arrangements = math.factorial(outcomes.shape[1])
    for count in alike.values():
        arrangements //= math.factorial(count)
    return min(1.0, 2 / arrangements)


def _orders(seeds: int) -> tuple[np.ndarray, int]:
    """Orders of the seeds, (orders, seeds), and 1 if they are random, else 0."""
    if seeds <= _EXACT:
        return np.array(list(itertools.permutations(range(seeds)))), 0
    every = np.broadcast_to(np.arange(seeds), (_DRAWN, seeds))
    return np.random.default_rng(0).permuted(every, axis=1), 1
