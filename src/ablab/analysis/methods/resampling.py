"""Intervals and tests of means over samples. Axes: N samples, P means."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

_CHUNK = 2**22  # random numbers at once


def bootstrap_interval(
    values: Float[np.ndarray, "N P"],
    weights: Float[np.ndarray, "N"],
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of intervals of weighted means by the Bayesian bootstrap (Rubin, 1981).

    Each resample multiplies the weights by independent exponential numbers; the ends are quantiles
    of the means with these weights. All columns share the resamples.

    Args:
        values: The values.
        weights: The weights of the samples, not all zero.
        resamples: The number of resamples.
        seed: The seed.
        level: The level of the intervals.

    Returns:
        The lower and the upper ends, (P,) each.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(1, len(values)))
    means = []
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        drawn = rng.standard_exponential((count, len(values))) * weights
        means.append(drawn @ values / drawn.sum(-1, keepdims=True))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def sign_flip_p(
    differences: Float[np.ndarray, "N P"], weights: Float[np.ndarray, "N"]
) -> NDArray[np.float64]:
    """Bounds of p-values of the test that differences of pairs are as often of either sign.

    If the members of each pair are exchangeable, Σ w d with random signs is at least as far from
    zero as observed with a probability of at most 2 exp(-z² / 2), where z² = (Σ w d)² / Σ w² d²
    (Hoeffding, 1963). So these are never too small, for any number of samples, and have no smallest
    value as those of drawn signs have.

    Args:
        differences: The differences.
        weights: The weights of the samples.

    Returns:
        The bounds, (P,); 1 where all differences are zero.
    """
    weighted = differences * weights[:, None]
    size = np.sqrt((weighted**2).sum(0))
    z = np.abs(weighted.sum(0)) / np.where(size > 0, size, 1.0)
    bounds: NDArray[np.float64] = np.minimum(1.0, 2 * np.exp(-(z**2) / 2))
    return bounds


def corrected(p: Sequence[float | None]) -> list[float | None]:
    """P-values after Benjamini and Hochberg (1995); those that do not exist stay None."""
    known = [each for each in p if each is not None]
    found = iter(false_discovery_control(known).tolist() if known else [])
    return [None if each is None else next(found) for each in p]


def corrected_array(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values after Benjamini and Hochberg (1995); those that do not exist stay NaN."""
    found = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if known.any():
        found[known] = false_discovery_control(p[known])
    return found
