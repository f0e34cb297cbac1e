"""The terms of one frequency in functions of two elements. Axes: n elements, F frequencies, M.

With w = w_k, the terms of the frequency k are cos wa, sin wa, cos wb, sin wb, and the products of
one in a and one in b, written as cos ws, sin ws, cos wd and sin wd, where s is the sum of the
operands with the coefficients of the task, and d the same with the other sign of b: a + b and a - b
for a sum. Together with the constant, these are the nine terms of Nanda et al., "Progress measures
for grokking via mechanistic interpretability" (2023).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ablab.analysis.methods.fourier_basis import ROUNDING, frequency_basis

TERMS = (
    "cos_a", "sin_a", "cos_b", "sin_b",
    "cos_sum", "sin_sum", "cos_difference", "sin_difference",
)  # fmt: skip
_SUM = slice(4, 6)
_TOGETHER = 64  # functions

Values = NDArray[np.float64]


def term_coefficients(maps: Values, coefficients: Sequence[int] = (1, 1)) -> Values:
    """The coefficients of the terms, each scaled to length one over all pairs, (F, 8, M).

    For an even n, the frequency n / 2 has no sines, and the sum is the difference.

    Args:
        maps: M functions of two elements, (n, n, M).
        coefficients: The coefficient, 1 or -1, of each operand in the sum.
    """
    n, _, count = maps.shape
    basis = frequency_basis(n)  # (F, 2, n)
    found = np.zeros((len(basis), len(TERMS), count))
    found[:, 0:2] = basis @ maps.sum(1) / np.sqrt(n)
    found[:, 2:4] = basis @ maps.sum(0) / np.sqrt(n)
    first = np.tensordot(basis, maps, axes=(2, 0))  # (F, 2, n, M)
    products = np.einsum("fibm,fjb->fijm", first, basis, optimize=True)
    cosines, mixed = products[:, 0, 0], products[:, 0, 1]
    sines, other = products[:, 1, 1], products[:, 1, 0]
    total = [(cosines - sines) / np.sqrt(2), (other + mixed) / np.sqrt(2)]
    difference = [(cosines + sines) / np.sqrt(2), (other - mixed) / np.sqrt(2)]
    if coefficients[0] != coefficients[1]:
        total, difference = difference, total
    if n % 2 == 0:
        total[0][-1] = cosines[-1]
        difference[0][-1] = 0
    found[:, 4:8] = np.stack([*total, *difference], axis=1)
    return found


def term_shares(maps: Values, coefficients: Sequence[int] = (1, 1)) -> Values:
    """The share of each term in the variance of all M functions over the pairs, (F, 8).

    Zero for functions without variance, other than that of rounding.
    """
    squares, total, size = np.zeros((len(maps) // 2, len(TERMS))), 0.0, 0.0
    for first in range(0, maps.shape[2], _TOGETHER):  # to limit the memory
        own = np.ascontiguousarray(maps[:, :, first : first + _TOGETHER])
        squares += np.square(term_coefficients(own, coefficients)).sum(-1)
        total += float(np.square(own - own.mean((0, 1))).sum())
        size += float(np.square(own).sum())
    return squares / total if total > ROUNDING * size else np.zeros_like(squares)


def share_outside(shares: Values | None, keys: Sequence[int]) -> float | None:
    """The share that is neither cos w_k s nor sin w_k s of the key frequencies k.

    Args:
        shares: Those of :func:`term_shares`, (F, 8), or None.
        keys: The key frequencies.

    Returns:
        The share; None without shares, or without any variance.
    """
    if shares is None or not shares.any():
        return None
    return float(1 - shares[[k - 1 for k in keys], _SUM].sum())
