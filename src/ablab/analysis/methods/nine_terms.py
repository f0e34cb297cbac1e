"""Neurons as functions of two operands, fitted by nine terms. Axes: n elements, F, M neurons.

The terms of the frequency k are 1, cos wa, sin wa, cos wb, sin wb and the four products of one in a
and one in b, with w = 2πk / n (Nanda et al., "Progress measures for grokking via mechanistic
interpretability", 2023).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2, gumbel_r
from torch import Tensor

from ablab.analysis.methods.fourier_basis import frequency_basis, permutation_p, relabellings
from ablab.analysis.methods.fourier_terms import term_coefficients
from ablab.analysis.methods.resampling import corrected_array

_TOGETHER = 64  # neurons, to limit the memory
_TIED = 1e-6  # relative; the null is in single precision

Values = NDArray[np.float64]


@dataclass(frozen=True)
class NineTermFits:
    """Fits of M neurons. Values are NaN for neurons that are constant.

    Attributes:
        frequency: The frequency that explains most of each neuron, (M,); 0 for those.
        in_sample: The share of the variance over all cells that each frequency explains, (M, F).
        explained: The share that nine terms explain in cells that they were not fitted to, with a
            frequency that was chosen without them, (M,). It may be negative.
        permuted_mean: The mean of the largest in-sample share over relabellings, (M,).
        permuted_95: The 95th percentile of that, (M,).
        p: The p-values of the permutation test for the largest in-sample share, (M,).
        p_corrected: The same after Benjamini and Hochberg (1995), over the neurons, (M,).
        permuted_median: The median of the largest in-sample share over relabellings and neurons;
            None if no neuron varies.
    """

    frequency: NDArray[np.int64]
    in_sample: Values
    explained: Values
    permuted_mean: Values
    permuted_95: Values
    p: Values
    p_corrected: Values
    permuted_median: float | None


def fit_nine_terms(maps: Values, permutations: int, seed: int) -> NineTermFits:
    """Fits each neuron by nine terms.

    In the null distribution, the elements are relabelled at random, in the same way for both
    operands: a neuron that depends on the operands, but not on their place in the group, is
    explained as well as before. Its statistic is the maximum over all frequencies, as for the
    neuron itself.

    Args:
        maps: The neurons, (n, n, M).
        permutations: The number of relabellings.
        seed: The seed of the relabellings, and of the folds of cells.
    """
    centred = maps - maps.mean((0, 1))
    totals = np.square(centred).sum((0, 1))
    finite = np.isfinite(totals)
    varies = finite & (totals > 1e-12 * max(totals[finite].max(initial=0), 1e-300))
    own = np.ascontiguousarray(centred[:, :, varies] / np.sqrt(totals[varies]))
    del centred
    shares = _shares(own)
    null = _null(own, permutations, seed)
    p = maximum_p(shares.max(0), null)
    return NineTermFits(
        frequency=np.nan_to_num(1 + _filled(shares.argmax(0), varies)).astype(np.int64),
        in_sample=_filled(shares.T, varies),
        explained=_filled(_cross_fitted(own, seed), varies),
        permuted_mean=_filled(null.mean(0), varies),
        permuted_95=_filled(np.quantile(null, 0.95, axis=0), varies),
        p=_filled(p, varies),
        p_corrected=_filled(corrected_array(p), varies),
        permuted_median=float(np.median(null)) if null.size else None,
    )


def maximum_p(observed: Values, null: Values) -> Values:
    """p-values of maxima, (M,), by permutations, and beyond all of them by a Gumbel distribution.

    (1 + 0) / (1 + P) is too large to be corrected for many neurons. The largest of several numbers
    has a Gumbel distribution in the limit (Gumbel, "Statistics of extremes", 1958). Its standard
    deviation is the upper 95% limit of that of the permutations, and its mean is theirs plus a
    standard error, so that p-values of noise are not too small.

    Args:
        observed: The maxima, (M,).
        null: Those of permutations, (P, M).
    """
    count = len(null)
    p = permutation_p(observed, null, _TIED)
    spread = null.std(0, ddof=1)
    scale = spread * np.sqrt((count - 1) / chi2.ppf(0.05, count - 1)) * np.sqrt(6) / np.pi
    location = null.mean(0) + spread / np.sqrt(count) - np.euler_gamma * scale
    tail = gumbel_r.sf(observed, location, np.where(scale > 0, scale, 1.0))
    return np.where((p <= 1 / (1 + count)) & (scale > 0), np.minimum(p, tail), p)


def _shares(maps: Values) -> Values:
    """The share of each frequency in functions with the variance 1 / n², (F, M)."""
    parts = [np.zeros((len(maps) // 2, 0))]
    for first in range(0, maps.shape[2], _TOGETHER):
        some = np.ascontiguousarray(maps[:, :, first : first + _TOGETHER])
        parts.append(np.square(term_coefficients(some)).sum(1))
    return np.concatenate(parts, axis=-1)


def _filled(values: Values, varies: NDArray[np.bool_]) -> Values:
    """Values of the neurons that vary as those of all neurons."""
    found = np.full((len(varies), *values.shape[1:]), np.nan)
    found[varies] = values
    return found


def _null(maps: Values, permutations: int, seed: int) -> Values:
    """The largest share that a frequency explains of each neuron, by relabelling, (P, M)."""
    waves = torch.from_numpy(frequency_basis(len(maps))).float()
    orders = relabellings(len(maps), permutations, seed)
    bases = [waves[:, :, torch.from_numpy(order)].contiguous() for order in orders]
    null = np.empty((permutations, maps.shape[2]))
    for first in range(0, maps.shape[2], _TOGETHER):
        some = torch.from_numpy(np.ascontiguousarray(maps[:, :, first : first + _TOGETHER]))
        null[:, first : first + _TOGETHER] = _largest_shares(some.float(), bases)
    return null


def _largest_shares(maps: Tensor, bases: list[Tensor]) -> Values:
    """The largest share of a frequency for each of some bases (F, 2, n), (P, M).

    In single precision, since these transforms take most of the time.
    """
    n, _, count = maps.shape
    rows, columns = maps.sum(1) / n**0.5, maps.sum(0) / n**0.5  # (n, M)
    found = []
    for own in bases:
        linear = (own @ rows).square().sum(1) + (own @ columns).square().sum(1)
        first = (own.reshape(-1, n) @ maps.reshape(n, -1)).reshape(len(own), 2, n, count)
        squares = sum((own @ first[:, wave]).square().sum(1) for wave in (0, 1))
        found.append((linear + squares).amax(0))
    largest: Values = torch.stack(found).double().numpy()
    return largest


def _cross_fitted(maps: Values, seed: int) -> Values:
    """The share explained in one half of the cells by a fit to the other half, averaged, (M,)."""
    n, _, count = maps.shape
    cells = maps.reshape(n * n, count)
    order = np.random.default_rng((seed, 3)).permutation(n * n)
    halves = order[: n * n // 2], order[n * n // 2 :]
    both = [_predicted(n, cells, *each) for each in (halves, halves[::-1])]
    mean: Values = np.mean(both, axis=0)
    return mean


def _predicted(
    n: int, cells: Values, fitted: NDArray[np.int64], judged: NDArray[np.int64]
) -> Values:
    """The share that a fit to some cells explains in others, with the frequency that fits best."""
    designs = [_design(n, k, fitted) for k in range(1, n // 2 + 1)]
    widths = np.cumsum([design.shape[1] for design in designs])[:-1]
    products = np.split(np.concatenate(designs, axis=1).T @ cells[fitted], widths)
    coefficients = [
        np.linalg.lstsq(design.T @ design, product)[0]
        for design, product in zip(designs, products, strict=True)
    ]
    explained = [(b * c).sum(0) for b, c in zip(coefficients, products, strict=True)]
    best = np.argmax(explained, axis=0)
    rest = np.empty(cells.shape[1])
    for place in np.unique(best):
        own = best == place
        predicted = _design(n, place + 1, judged) @ coefficients[place][:, own]
        rest[own] = np.square(cells[np.ix_(judged, own)] - predicted).sum(0)
    total = np.square(cells[judged] - cells[fitted].mean(0)).sum(0)
    explained_there: Values = 1 - rest / total
    return explained_there


def _design(n: int, k: int, cells: NDArray[np.int64]) -> Values:
    """The nine terms at some cells a n + b; four for the frequency n / 2, (cells, 9)."""
    a, b = np.divmod(cells, n)
    waves = [np.ones((n, 1)), np.cos(2 * np.pi * k * np.arange(n) / n)[:, None]]
    if 2 * k < n:
        waves.append(np.sin(2 * np.pi * k * np.arange(n) / n)[:, None])
    own = np.concatenate(waves, axis=-1)
    design: Values = (own[a][:, :, None] * own[b][:, None, :]).reshape(len(cells), -1)
    return design
