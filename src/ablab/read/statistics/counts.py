"""Runs that learnt or did not: counts, learning probabilities and their difference."""

import math
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.special import comb
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from ablab.read.statistics.array import Array

Interval = tuple[float, float]
_LARGEST = 40
"""With more runs in a group, Newcombe's interval and Fisher's test replace the exact ones."""


@lru_cache(maxsize=4096)
def learning_probability(learned: int, runs: int, alpha: float = 0.05) -> Interval:
    """The Clopper-Pearson interval of the probability that a run learns.

    Args:
        learned: The number of runs that learnt.
        runs: The number of runs, at least one.
        alpha: One minus the confidence.
    """
    low, high = proportion_confint(learned, runs, alpha, method="beta")
    return float(low), float(high)


def unseen(runs: int) -> float:
    """The largest share of runs of a kind that none of the seen runs is of.

    It is the upper end of the 95% Clopper-Pearson interval of 0 of ``runs``: 0.71 for 3 runs, so
    3 of 3 that learnt leave a learning probability of 0.29 open.
    """
    return learning_probability(0, runs)[1]


@lru_cache(maxsize=4096)
def probability_difference(
    learned: int, runs: int, other_learned: int, other_runs: int
) -> Interval:
    """The 95% interval of the difference of two learning probabilities.

    Exact and unconditional: the differences that a two-sided test with the score statistic does
    not reject at any value of the other probability (Agresti and Min, 2001), so it covers at least
    95% for any probabilities. Newcombe's interval (1998) is used with more than 40 runs.
    """
    if max(runs, other_runs) > _LARGEST:
        low, high = confint_proportions_2indep(
            learned, runs, other_learned, other_runs, method="newcomb"
        )
        return float(low), float(high)
    accepted = [
        delta
        for delta in np.linspace(-1, 1, 401)
        if _p_value(float(delta), learned, runs, other_learned, other_runs) > 0.05
    ]
    return float(max(-1.0, min(accepted) - 0.005)), float(min(1.0, max(accepted) + 0.005))


@lru_cache(maxsize=4096)
def probability_test(learned: int, runs: int, other_learned: int, other_runs: int) -> float:
    """The two-sided p-value of equal learning probabilities.

    Barnard's exact unconditional test with the score statistic; Fisher's with more than 40 runs.
    """
    if learned / runs == other_learned / other_runs:
        return 1.0
    if max(runs, other_runs) > _LARGEST:
        table = [[learned, runs - learned], [other_learned, other_runs - other_learned]]
        return float(stats.fisher_exact(table).pvalue)
    return _p_value(0.0, learned, runs, other_learned, other_runs)


def _p_value(delta: float, x: int, n: int, y: int, m: int) -> float:
    """The largest probability, over the other parameter, of a table as extreme."""
    scores = np.abs(_scores(delta, n, m))
    extreme = scores >= scores[x, y] - 1e-9
    first, second = _chances(delta, n, m)
    return float(min(1.0, (first * (extreme.astype(float) @ second)).sum(axis=0).max()))


@lru_cache(maxsize=2048)
def _chances(delta: float, n: int, m: int) -> tuple[Array, Array]:
    """The probabilities of each count of both groups, for 101 values of the other parameter."""
    other = np.linspace(max(0.0, -delta), min(1.0, 1.0 - delta), 101)
    return _binomial(n, np.clip(other + delta, 0, 1)), _binomial(m, other)


def _binomial(n: int, p: Array) -> Array:
    """The probability of each count, (n + 1, probabilities); faster than ``scipy.stats.binom``."""
    k = np.arange(n + 1)
    return np.asarray(comb(n, k)[:, None] * p ** k[:, None] * (1 - p) ** (n - k)[:, None])


@lru_cache(maxsize=2048)
def _scores(delta: float, n: int, m: int) -> Array:
    """The score statistic of each table, (n + 1, m + 1).

    The probabilities are estimated under the difference (Farrington and Manning, 1990).
    """
    p, q = np.meshgrid(np.arange(n + 1) / n, np.arange(m + 1) / m, indexing="ij")
    ratio = m / n
    a = 1 + ratio
    b = -(1 + ratio + p + ratio * q + delta * (ratio + 2))
    c = delta**2 + delta * (2 * p + ratio + 1) + p + ratio * q
    d = -p * delta * (1 + delta)
    v = b**3 / (27 * a**3) - b * c / (6 * a**2) + d / (2 * a)
    u = np.where(v >= 0, 1.0, -1.0) * np.sqrt(np.maximum(b**2 / (9 * a**2) - c / (3 * a), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(u == 0, 0.0, v / u**3)
    w = (math.pi + np.arccos(np.clip(angle, -1, 1))) / 3
    first = np.clip(2 * u * np.cos(w) - b / (3 * a), 0, 1)
    second = np.clip(first - delta, 0, 1)
    error = np.sqrt(first * (1 - first) / n + second * (1 - second) / m)
    apart = p - q - delta
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = apart / error
    return np.where(np.abs(apart) < 1e-12, 0.0, np.where(error < 1e-12, np.inf, scores))
