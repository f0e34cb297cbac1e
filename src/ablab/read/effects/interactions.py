"""Interactions: whether the effect of a setting depends on another setting."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import null_space
from scipy.special import fdtrc

from ablab.read.effects.compare import largest, shown
from ablab.read.effects.inference import ALPHA, Interval, balance, estimate, holm, rounding
from ablab.read.effects.results import Array, Results, Scale


@dataclass(frozen=True)
class Contrast:
    """A difference of differences, or a ratio of ratios.

    It compares the effect of one setting (value vs reference) at a value of another setting with
    its effect at the other setting's base value:
    (value, other_value) - (reference, other_value) - (value, other_reference) +
    (reference, other_reference), averaged over the cells of all further settings within each seed.
    The interval is over seeds.

    Attributes:
        key: The first setting.
        value: A value of the first setting.
        reference: The base value of the first setting.
        other: The second setting.
        other_value: A value of the second setting.
        other_reference: The base value of the second setting.
        scale: Whether ``difference`` is a difference of differences or a ratio of ratios.
        seeds: The number of seeds.
        cells: The number of cells of further settings in each seed's average.
        missing: The number of contrasts of single runs that lack a value.
        difference: The mean over seeds; None if no seed has all four values.
        interval: The 95% confidence interval; None if the variance is unknown, or a ratio's reaches
            more than a factor of 1,000 to either side.
        p: The p-value of a paired t-test; None with fewer than two seeds.
        p_adjusted: The p-value with Holm's correction over all contrasts of the table; None if
            ``p`` is.
    """

    key: str
    value: Any
    reference: Any
    other: str
    other_value: Any
    other_reference: Any
    scale: Scale
    seeds: int
    cells: int
    missing: int
    difference: float | None
    interval: Interval | None
    p: float | None
    p_adjusted: float | None

    @property
    def interacts(self) -> bool:
        """Whether the difference of differences is significant."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    def as_data(self) -> dict[str, Any]:
        """The contrast as plain data."""
        interval = None if self.interval is None else list(self.interval)
        return dict(vars(self)) | {"interval": interval, "interacts": self.interacts}


@dataclass(frozen=True)
class Interaction:
    """A test of whether two settings interact, over all their values together.

    A repeated-measures F-test, in which the runs of a seed are the repeated measures, with the
    correction of Greenhouse and Geisser (1959) for unequal variances: F = n ‖mean‖² / tr(S), where
    mean and S are the mean and covariance of the seeds' vectors of orthonormal interaction
    contrasts. The degrees of freedom are e q and e q (n - 1), with e = tr(S)² / (q tr(S²)) and q
    contrasts.

    Attributes:
        key: The first setting.
        other: The second setting.
        seeds: The number of seeds.
        statistic: F; None if it cannot be computed (one seed, or no variance).
        degrees: The two degrees of freedom; None if ``statistic`` is.
        p: The p-value; None if ``statistic`` is.
        p_adjusted: The p-value with Holm's correction over all pairs of settings; None if ``p`` is.
        contrasts: The differences of differences relative to the base values.
    """

    key: str
    other: str
    seeds: int
    statistic: float | None
    degrees: tuple[float, float] | None
    p: float | None
    p_adjusted: float | None
    contrasts: tuple[Contrast, ...]

    @property
    def exists(self) -> bool:
        """Whether the interaction is significant, by the adjusted p-value."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    def as_data(self) -> dict[str, Any]:
        """The interaction as plain data."""
        return dict(vars(self)) | {
            "degrees": None if self.degrees is None else list(self.degrees),
            "exists": self.exists,
            "contrasts": [each.as_data() for each in self.contrasts],
        }


def interactions(
    results: Results, of: str | None = None, without: Collection[str] = ()
) -> tuple[Interaction, ...]:
    """Tests every pair of settings that have several values.

    Args:
        results: The results of the runs.
        of: If given, only pairs that include this setting.
        without: Settings of which no pair is tested.

    Raises:
        InputError: ``of`` is not an axis of the grid.
    """
    if of is not None:
        results.check_key(of)
    several = [k for k, levels in results.levels.items() if len(levels) > 1 and k not in without]
    pairs = [pair for pair in itertools.combinations(several, 2) if of is None or of in pair]
    drafts = [_interaction(results, *pair) for pair in pairs]
    contrasts = [contrast for draft in drafts for contrast in draft.contrasts]
    adjusted = iter(holm([contrast.p for contrast in contrasts]))
    together = holm([draft.p for draft in drafts])
    return tuple(
        replace(
            draft,
            p_adjusted=p,
            contrasts=tuple(replace(each, p_adjusted=next(adjusted)) for each in draft.contrasts),
        )
        for draft, p in zip(drafts, together, strict=True)
    )


def _interaction(results: Results, key: str, other: str) -> Interaction:
    values = results.by(
        [key, other], "all", results.one_group
    )  # (levels of key, of other, cells, seeds)
    base, other_base = results.base[key], results.base[other]
    a0, b0 = results.place(key, base), results.place(other, other_base)
    contrasts = []
    for (a, level), (b, other_level) in itertools.product(
        enumerate(results.levels[key]), enumerate(results.levels[other])
    ):
        if a == a0 or b == b0:
            continue
        four = values[[a, a0, a, a0], [b, b, b0, b0]]
        balanced = balance(four[0] - four[1] - four[2] + four[3])
        found = estimate(balanced.values, 2 * largest(four, results.scale))
        numbers = shown(found, results.scale)
        contrasts.append(
            Contrast(
                key=key,
                value=level,
                reference=base,
                other=other,
                other_value=other_level,
                other_reference=other_base,
                scale=results.scale,
                seeds=found.seeds,
                cells=balanced.cells,
                missing=balanced.missing,
                difference=numbers["difference"],
                interval=numbers["interval"],
                p=found.p,
                p_adjusted=None,
            )
        )
    seeds, statistic, degrees = _together(values)
    p = None if statistic is None or degrees is None else float(fdtrc(*degrees, statistic))
    return Interaction(key, other, seeds, statistic, degrees, p, None, tuple(contrasts))


def _together(values: Array) -> tuple[int, float | None, tuple[float, float] | None]:
    """The number of seeds, F and its degrees of freedom.

    Args:
        values: (levels, other levels, cells, seeds).
    """
    there = np.isfinite(values)  # drops values of a setting at which no run has a result
    values = values[there.any(axis=(1, 2, 3))][:, there.any(axis=(0, 2, 3))]
    tables = balance(values).values  # (levels, other levels, seeds)
    first, second, n = tables.shape
    if min(first, second, n) < 2:
        return n, None, None
    contrasts = np.kron(_orthonormal(first), _orthonormal(second))
    vectors = contrasts @ tables.reshape(-1, n)  # (q, seeds)
    q = len(vectors)
    top = float(np.abs(vectors).max())  # F is the same in any unit
    if top <= rounding(float(np.abs(tables).max())):
        return n, None, None
    vectors = vectors / top
    covariance = np.cov(vectors).reshape(q, q)
    spread = float(np.trace(covariance))
    if spread <= q * rounding(float(np.abs(tables).max()) / top) ** 2:
        return n, None, None
    epsilon = spread**2 / (q * float((covariance**2).sum()))
    mean = vectors.mean(axis=1)
    return n, n * float(mean @ mean) / spread, (epsilon * q, epsilon * q * (n - 1))


def _orthonormal(levels: int) -> Array:
    """Orthonormal contrasts of a number of levels, (levels - 1, levels)."""
    return np.asarray(null_space(np.ones((1, levels))).T)
