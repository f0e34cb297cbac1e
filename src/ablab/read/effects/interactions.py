"""Whether a setting's effect depends on another setting."""

import itertools
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

    How much more (how many times more) a step of one setting changes the measure at another
    setting's value than at that one's base.
    (value and other_value) - (reference and other_value) - (value and other_reference) +
    (reference and other_reference), averaged over the cells of all further settings within each
    seed; the interval is over seeds.

    Attributes:
        key: One setting.
        value: Its value.
        reference: Its base value.
        other: The other setting.
        other_value: Its value.
        other_reference: Its base value.
        scale: Whether ``difference`` is one of differences or a ratio of ratios.
        seeds: How many seeds the numbers rest on.
        cells: How many cells of further settings each seed's average is over.
        missing: How many of the contrasts of single runs lack a value.
        difference: The mean over seeds.
        interval: Its 95% interval; None where nothing tells the spread.
        p: By a paired t test.
        p_adjusted: By Holm over all contrasts of the table.
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
        """Whether the difference of differences is told from none."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    def as_data(self) -> dict[str, Any]:
        """The contrast as plain data."""
        interval = None if self.interval is None else list(self.interval)
        return dict(vars(self)) | {"interval": interval, "interacts": self.interacts}


@dataclass(frozen=True)
class Interaction:
    """Whether two settings interact at all, over all their values together.

    An F test of repeated measures, a seed's runs being the repetitions, with Greenhouse and
    Geisser's (1959) correction for unequal noise: F = n ‖mean‖² / tr(S) of the seeds' vectors of
    orthonormal interaction contrasts, S their covariance; degrees of freedom e q and e q (n - 1)
    with e = tr(S)² / (q tr(S²)).

    Attributes:
        key: One setting.
        other: The other.
        seeds: How many seeds it rests on.
        statistic: F; None where it cannot be had (one seed, no spread).
        degrees: Its two degrees of freedom.
        p: Its p value.
        p_adjusted: By Holm over all pairs of settings.
        contrasts: The differences of differences, beside the base values.
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
        """Whether there is an interaction, by the adjusted p value."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    def as_data(self) -> dict[str, Any]:
        """The interaction as plain data."""
        return dict(vars(self)) | {
            "degrees": None if self.degrees is None else list(self.degrees),
            "exists": self.exists,
            "contrasts": [each.as_data() for each in self.contrasts],
        }


def interactions(results: Results, of: str | None = None) -> tuple[Interaction, ...]:
    """Each pair of settings, or each that has ``of`` in it; settings of one value have none.

    Raises:
        InputError: ``of`` is no axis.
    """
    if of is not None:
        results.check_key(of)
    several = [key for key, levels in results.levels.items() if len(levels) > 1]
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
    values = results.by([key, other], "all")  # (levels of key, of other, cells, seeds)
    size = largest(values, results.scale)
    base, other_base = results.base[key], results.base[other]
    a0, b0 = results.place(key, base), results.place(other, other_base)
    contrasts = []
    for (a, level), (b, other_level) in itertools.product(
        enumerate(results.levels[key]), enumerate(results.levels[other])
    ):
        if a == a0 or b == b0:
            continue
        balanced = balance(values[a, b] - values[a0, b] - values[a, b0] + values[a0, b0])
        found = estimate(balanced.values, 2 * size)
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
    """The F statistic and its degrees of freedom from (levels, other levels, cells, seeds)."""
    there = np.isfinite(values)  # a value of a setting that no run came through with is left out
    values = values[there.any(axis=(1, 2, 3))][:, there.any(axis=(0, 2, 3))]
    tables = balance(values).values  # (levels, other levels, seeds)
    first, second, n = tables.shape
    if min(first, second, n) < 2:
        return n, None, None
    contrasts = np.kron(_orthonormal(first), _orthonormal(second))
    vectors = contrasts @ tables.reshape(-1, n)  # (q, seeds)
    q = len(vectors)
    covariance = np.cov(vectors).reshape(q, q)
    spread = float(np.trace(covariance))
    if spread <= q * rounding(float(np.abs(tables).max())) ** 2:
        return n, None, None
    epsilon = spread**2 / (q * float((covariance**2).sum()))
    mean = vectors.mean(axis=1)
    return n, n * float(mean @ mean) / spread, (epsilon * q, epsilon * q * (n - 1))


def _orthonormal(levels: int) -> Array:
    """Rows that are orthonormal contrasts of so many levels."""
    return np.asarray(null_space(np.ones((1, levels))).T)
