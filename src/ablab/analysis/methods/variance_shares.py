"""Shares of a variance that inputs and factors explain. Axes: N samples, C columns, U units.

Partial variances are sums over columns, so that an output of several columns (the vector of a head)
has one share: its partial variances are added up (Lamboni, Monod and Makowski, "Multivariate
sensitivity analysis to measure global contribution of input factors in dynamic models", 2011).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from ablab.analysis.methods.unit_outputs import Unit, sum_by_unit
from ablab.tasks.factors import DOES_NOT_APPLY

_NORMAL_95 = 1.959963984540054  # the 97.5th percentile of the standard normal distribution
_ROUNDING = 1e-6  # of the largest value of a part; smaller standard deviations are rounding

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Indices:
    """Sobol indices of U units for P positions, each (P, U), and NaN for units that are constant.

    Attributes:
        main: The main (first-order) index.
        main_low: The lower end of its 95% interval.
        main_high: The upper end.
        total: The total index.
        total_low: The lower end of its 95% interval.
        total_high: The upper end.
    """

    main: Array
    main_low: Array
    main_high: Array
    total: Array
    total_low: Array
    total_high: Array


def is_constant(values: Array, units: Sequence[Unit]) -> NDArray[np.bool_]:
    """Whether the standard deviation of each unit is not above that of rounding, (U,).

    That is 1e-6 of the largest value of the units of one kind in one block, as float32 rounds a
    logit that is constant by a share of those that are not.
    """
    spread = np.sqrt(sum_by_unit(units, values.var(0)))
    own = np.sqrt(sum_by_unit(units, np.square(np.abs(values).max(0))))
    largest: dict[tuple[str, int | None], float] = {}
    for unit, value in zip(units, own, strict=True):
        part = (unit.kind, unit.block)
        largest[part] = max(largest.get(part, 0.0), float(value))
    limits = np.array([_ROUNDING * largest[unit.kind, unit.block] for unit in units])
    found: NDArray[np.bool_] = spread <= limits
    return found


def exact_indices(values: Array, tokens: NDArray[np.int64], units: Sequence[Unit]) -> Indices:
    """Sobol indices of a function that is known for every combination of its inputs.

    - main: Var(E[y | x_i]) / Var(y),
    - total: E[Var(y | x_~i)] / Var(y), where x_~i are all inputs but x_i

    (Sobol, "Sensitivity estimates for nonlinear mathematical models", 1993; Homma and Saltelli,
    1996). They have no error, so their intervals are single points.

    Args:
        values: (N, C).
        tokens: The inputs that vary, (N, P): every combination once.
        units: The units of the columns.
    """
    codes = [np.unique(column, return_inverse=True) for column in tokens.T]
    sizes = [len(found) for found, _ in codes]
    assert len(values) == prod(sizes), "every combination occurs once"
    grid = np.empty_like(values)
    grid[np.ravel_multi_index(tuple(code for _, code in codes), sizes)] = values
    grid = grid.reshape(*sizes, values.shape[-1])
    axes = range(len(sizes))
    main = [grid.mean(tuple(a for a in axes if a != axis)).var(0) for axis in axes]
    total = [grid.var(axis).reshape(-1, values.shape[-1]).mean(0) for axis in axes]
    whole = sum_by_unit(units, values.var(0))
    whole[is_constant(values, units)] = np.nan
    mains = sum_by_unit(units, np.stack(main)) / whole
    totals = sum_by_unit(units, np.stack(total)) / whole
    return Indices(mains, mains, mains, totals, totals, totals)


def estimated_indices(a: Array, b: Array, ab: Sequence[Array], units: Sequence[Unit]) -> Indices:
    """Sobol indices of a function of independent inputs, estimated from samples.

    With samples A and B and, for each input i, A with its column i from B:

    - main: mean(f_B (f_AB - f_A)) / V (Saltelli et al., "Variance based sensitivity analysis of
      model output", 2010, table 2 b),
    - total: mean((f_A - f_AB)²) / 2 V (Jansen, "Analysis of variance designs for model output",
      1999; table 2 f of Saltelli et al.),

    where f has the mean zero and V is its variance over A and B. These are the estimators of
    ``scipy.stats.sobol_indices``. Both are exactly zero for an input without influence. The
    intervals are those of a ratio of means by the delta method (Cochran, "Sampling techniques",
    1977, section 2.11).

    Args:
        a: f_A, (N, C).
        b: f_B, (N, C).
        ab: f_AB for each input, (N, C).
        units: The units of the columns.
    """
    both = np.concatenate([a, b])
    constant = is_constant(both, units)
    middle = both.mean(0)
    a, b = a - middle, b - middle
    spread = sum_by_unit(units, (a**2 + b**2) / 2)  # (N, U)
    found = []
    for own in ab:
        changed = own - middle
        for effect in (b * (changed - a), (a - changed) ** 2 / 2):
            index, error = _ratio(sum_by_unit(units, effect), spread)
            index[constant] = np.nan
            found.append((index, index - _NORMAL_95 * error, index + _NORMAL_95 * error))
    main = [np.stack(each) for each in zip(*found[::2], strict=True)]
    total = [np.stack(each) for each in zip(*found[1::2], strict=True)]
    return Indices(*main, *total)


class Variances:
    """The variances of units over samples with weights.

    Args:
        values: (N, C).
        weights: (N,), positive.
        units: The units of the columns.
    """

    def __init__(self, values: Array, weights: Array, units: Sequence[Unit]) -> None:
        self._units, self._weights = units, weights / weights.sum()
        self._centred = values - self._weights @ values
        self.total = sum_by_unit(units, self._weights @ np.square(self._centred))
        self.total[is_constant(values, units)] = np.nan

    def between(self, labels: NDArray[np.int64]) -> Array:
        """The share of each unit's variance between labels, the correlation ratio η², (U,).

        η² = Var(E[y | label]) / Var(y), over the samples that have a label (Pearson, "On the
        general theory of skew correlation and non-linear regression", 1905); NaN for constant
        units.

        Args:
            labels: (N,); samples with ``DOES_NOT_APPLY`` are left out.
        """
        keep = labels != DOES_NOT_APPLY
        if not keep.all():
            part = Variances(self._centred[keep], self._weights[keep], self._units)
            return part.between(labels[keep])
        _, code = np.unique(labels, return_inverse=True)
        groups = sparse.csr_array((self._weights, (code, np.arange(len(code)))))
        shares = np.bincount(code, self._weights)
        squares = shares @ np.square(groups @ self._centred / shares[:, None])
        found: Array = sum_by_unit(self._units, squares) / self.total
        return found


@dataclass(frozen=True)
class RandomShare:
    """The distribution of η² if the values of samples are permuted, as beta distributions.

    Attributes:
        first: The first parameter of the distribution, for each unit, (U,).
        second: The second parameter.
    """

    first: Array
    second: Array

    def percentile(self, level: float) -> Array:
        """The share below which a fraction ``level`` of permutations is, (U,)."""
        found: Array = stats.beta.ppf(level, self.first, self.second)
        return found

    def p_values(self, shares: Array) -> Array:
        """The probability that a permutation gives at least these shares, (U,)."""
        found: Array = stats.beta.sf(shares, self.first, self.second)
        return found


def random_share(
    labels: NDArray[np.int64], weights: Array, dimensions: Array | float = 1.0
) -> RandomShare:
    """The distribution of η² for values that do not depend on the label.

    For k labels of equally many of the N samples with equal weights, it is the beta distribution
    with the parameters (k - 1) / 2 and (N - k) / 2: that of the F statistic of an analysis of
    variance (Fisher, 1925). Its mean (k - 1) / (N - 1) is that of all permutations. In general, the
    sum over labels is a weighted sum of squares, whose weights λ are the eigenvalues of the
    covariance of the means. Then the mean is Σλ, and the first parameter (Σλ)² / 2 Σλ²
    (Satterthwaite, 1946), times the dimensions of an output with several columns. It is accurate if
    means over a label are about normal, thus not for labels of few samples.

    Args:
        labels: (N,); samples with ``DOES_NOT_APPLY`` are left out.
        weights: (N,), positive.
        dimensions: The participation ratio of each unit's covariance; 1 for one column.
    """
    keep = labels != DOES_NOT_APPLY
    weights = weights[keep] / weights[keep].sum()
    _, code = np.unique(labels[keep], return_inverse=True)
    shares, squares = np.bincount(code, weights), np.bincount(code, weights**2)
    form = np.diag(shares) - np.outer(shares, shares)
    deviations = np.sqrt(squares) / shares  # of the mean of each label
    matrix = deviations[:, None] * form * deviations  # with the eigenvalues λ
    mean = min(np.trace(matrix) / (1 - np.square(weights).sum()), 1 - 1e-12)
    first = np.trace(matrix) ** 2 / (2 * np.square(matrix).sum()) * np.asarray(dimensions)
    return RandomShare(first, first * (1 / mean - 1))


def dimensions(values: Array, weights: Array, units: Sequence[Unit]) -> Array:
    """The participation ratio of each unit's covariance, (tr C)² / tr C², (U,)."""
    found = np.ones(len(units))
    first = 0
    centred = values - weights @ values
    for place, unit in enumerate(units):
        own = centred[:, first : first + unit.width]
        first += unit.width
        if unit.width > 1:
            covariance = (weights[:, None] * own).T @ own
            squares = np.square(covariance).sum()
            found[place] = np.trace(covariance) ** 2 / squares if squares else 1.0
    return found


def _ratio(above: Array, below: Array) -> tuple[Array, Array]:
    """The ratio of two means over samples, (N, U), and its standard error, (U,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = above.mean(0) / below.mean(0)
        residuals = above - ratio * below
        error = residuals.std(0, ddof=1) / (np.sqrt(len(above)) * below.mean(0))
    return ratio, error
