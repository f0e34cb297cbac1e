"""The real Fourier basis of a cyclic group, spectra in it, and their sparsity.

With w_k = 2πk / n, the basis of functions of the n elements is 1, cos w_k x and sin w_k x for the
frequencies k = 1 … n // 2; for an even n, the last frequency has no sine. All are scaled to length
one. Axes: n elements, F = n // 2 frequencies, C = n - 1 components that are not constant.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDING = 1e-10  # of a mean square; float32 rounds at 1e-7
_TOGETHER = 64  # functions

Values = NDArray[np.float64]


@lru_cache(maxsize=16)
def fourier_basis(n: int) -> Values:
    """The basis, with a row for each component: 1, cos w_1 x, sin w_1 x, cos w_2 x, …, (n, n)."""
    pairs = frequency_basis(n).reshape(-1, n)
    constant = np.full((1, n), 1 / np.sqrt(n))
    basis: Values = np.concatenate([constant, pairs])[:n]  # without the sine of n / 2
    basis.setflags(write=False)
    return basis


def frequency_basis(n: int) -> Values:
    """Cosine and sine of each frequency, (F, 2, n); the sine of n / 2 is zero."""
    angles = 2 * np.pi * np.outer(np.arange(1, n // 2 + 1), np.arange(n)) / n
    waves: Values = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.sqrt(2 / n)
    if n % 2 == 0:
        waves[-1, 0] /= np.sqrt(2)
        waves[-1, 1] = 0
    return waves


def frequencies_of(n: int) -> NDArray[np.int64]:
    """The frequency of each row of the basis: 0, 1, 1, 2, 2, …, (n,)."""
    return (np.arange(n) + 1) // 2


def component_norms(matrix: Values, order: NDArray[np.int64] | None = None) -> Values:
    """The norm of each component of a function of the elements, (n,).

    Args:
        matrix: A vector for each element, (n, D).
        order: The elements in another order.
    """
    basis = fourier_basis(len(matrix))
    basis = basis if order is None else basis[:, order]
    norms: Values = np.linalg.norm(basis @ matrix, axis=-1)
    return norms


def pair_norms(maps: Tensor, order: NDArray[np.int64] | None = None) -> Values:
    """The norm of each product of components of a function of two elements, (n, n).

    Args:
        maps: M functions of two elements, (n, n, M).
        order: The elements in another order, the same for both.
    """
    n = len(maps)
    basis = torch.tensor(fourier_basis(n), dtype=maps.dtype)
    basis = basis if order is None else basis[:, torch.from_numpy(order)]
    squares = torch.zeros(n, n, dtype=maps.dtype)
    for own in torch.split(maps, _TOGETHER, dim=-1):  # to limit the memory
        first = (basis @ own.reshape(n, -1)).reshape(n, n, -1)
        squares += (basis @ first).square().sum(-1)
    norms: Values = squares.sqrt().double().numpy()
    return norms


def gini(sizes: Values) -> float | None:
    """The Gini coefficient of sizes that are not negative, from 0 (all equal) to 1 - 1 / C.

    1 - 2 Σ_i x_(i) / Σ x · (C - i + 1/2) / C with x_(1) ≤ … ≤ x_(C): Hurley and Rickard,
    "Comparing measures of sparsity" (2009).

    Returns:
        The coefficient; None if all sizes are zero.
    """
    x = np.sort(np.ravel(sizes))
    total, count = x.sum(), len(x)
    if not np.isfinite(total) or total <= 0:
        return None
    ranks = np.arange(1, count + 1)
    return float(1 - 2 * (x / total) @ ((count - ranks + 0.5) / count))


@dataclass(frozen=True)
class Sparsity:
    """The Gini coefficient of a function of the elements, beside that with relabelled elements.

    Attributes:
        gini: The coefficient; None if the function is constant.
        permuted_mean: The mean over random relabellings of the elements.
        permuted_95: Their 95th percentile.
        p: The p-value of the permutation test for a larger coefficient.
        permutations: The number of relabellings.
    """

    gini: float | None
    permuted_mean: float | None
    permuted_95: float | None
    p: float | None
    permutations: int


def sparsity(sizes: Values, null: Values, whole: float) -> Sparsity:
    """Compares a Gini coefficient with those of relabelled elements.

    Args:
        sizes: The norms of the components that are not constant, (C,).
        null: Those of each relabelling, (P, C).
        whole: The norm of the function, its constant part included: it is constant if all others
            are rounding.
    """
    observed = gini(sizes) if np.square(sizes).sum() > ROUNDING * whole**2 else None
    if observed is None:
        return Sparsity(None, None, None, None, len(null))
    permuted = np.array([gini(each) for each in null], dtype=np.float64)
    (p,) = permutation_p(np.array([observed]), permuted[:, None])
    quantile = float(np.quantile(permuted, 0.95))
    return Sparsity(observed, float(permuted.mean()), quantile, float(p), len(null))


def relabellings(n: int, permutations: int, seed: int) -> list[NDArray[np.int64]]:
    """Random orders of n elements."""
    rng = np.random.default_rng((seed, 1))
    return [rng.permutation(n) for _ in range(permutations)]


def permutation_p(observed: Values, null: Values, tied: float = 1e-9) -> Values:
    """p-values of a permutation test: (1 + the number of null values ≥ observed) / (1 + P).

    NaN for a value that is NaN.

    Phipson and Smyth, "Permutation p-values should never be zero" (2010). Values that differ by
    rounding only count as equal.

    Args:
        observed: (M,).
        null: (P, M), or (P, 1) for the same distribution for all.
        tied: The relative difference that rounding can make.

    Returns:
        (M,).
    """
    tolerance = tied * np.abs(observed)
    p: Values = (1 + (null >= observed - tolerance).sum(0)) / (1 + len(null))
    return np.where(np.isnan(observed), np.nan, p)
