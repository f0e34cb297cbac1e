"""Fits how a positive measure scales with a numeric setting: a power law or an exponential.

Both are linear in the logarithm of the measure: log y = a + b log x, or log y = a + b x. The slope
is fitted for each seed, within the cells of the other settings. Its interval comes from Student's t
over the slopes of the seeds: runs of a seed are correlated, so a fit to all runs as if they were
independent would give too narrow an interval. A single seed has a slope, but no interval. (Standard
errors clustered by seed are an alternative, but they are too small with so few clusters; Cameron
and Miller, 2015.)
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from statsmodels.regression.linear_model import OLS

from ablab.config import InputError, Problem
from ablab.read.effects.compare import factor
from ablab.read.effects.inference import ALPHA, Interval, estimate
from ablab.read.effects.level_means import level_means
from ablab.read.effects.results import Array, Others, Results

Form = Literal["power law", "exponential"]

GOOD_FIT = 0.9
"""The minimum R² of the levels' means for a relation to be reported."""


@dataclass(frozen=True)
class Fit:
    """A fitted relation.

    Attributes:
        form: ``power law`` (y ~ x^slope) or ``exponential`` (y ~ exp(slope x)).
        slope: The exponent or the rate.
        interval: The 95% confidence interval of the slope; None if the variance is unknown, as of
            one seed.
        p: The p-value for a slope of 0; None with one seed.
        seeds: The number of seeds whose slopes are averaged.
        step: The factor (power law) or increment (exponential) of the setting behind ``factor``.
        factor: The factor by which the measure changes with that step.
        factor_interval: The 95% confidence interval of the factor; None if ``interval`` is.
        r_squared: The R² of the line for the levels' means (of logarithms); None with two levels,
            where any line fits, or if all means are equal.
        off_by: The largest factor between the mean of a level and the line.
        aicc: The corrected Akaike criterion (AICc) for the levels' means; None with fewer than
            five levels.
    """

    form: Form
    slope: float
    interval: Interval | None
    p: float | None
    seeds: int
    step: float
    factor: float
    factor_interval: Interval | None
    r_squared: float | None
    off_by: float
    aicc: float | None

    @property
    def holds(self) -> bool:
        """Whether the fit is good enough to report a relation.

        This requires at least three levels, an R² of at least 0.9, and a significant slope.
        """
        fits = self.r_squared is not None and self.r_squared >= GOOD_FIT
        return fits and self.p is not None and self.p <= ALPHA

    def as_data(self) -> dict[str, Any]:
        """The fit as plain data."""
        data = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        return data | {"holds": self.holds}


@dataclass(frozen=True)
class Scaling:
    """The relation of a measure to a setting.

    Attributes:
        key: The setting.
        measure: The measure.
        others: ``base`` if only runs with all other settings at their base values are used, ``all``
            if those of all cells are.
        levels: The values of the setting for which at least one run has a value.
        runs: The number of runs.
        missing: The number of runs without a value, which are ignored. The relation holds for the
            other runs only.
        fits: The fits, best first, also of relations that do not hold; a power law only if all
            levels are positive.
        clear: Whether the first fit is clearly better: its AIC is lower by more than 2 (both forms
            have equally many parameters, so the small-sample correction cancels).
    """

    key: str
    measure: str
    others: Others
    levels: tuple[float, ...]
    runs: int
    missing: int
    fits: tuple[Fit, ...]
    clear: bool

    @property
    def best(self) -> Fit | None:
        """The best fit; None if there is none."""
        return self.fits[0] if self.fits else None

    def as_data(self) -> dict[str, Any]:
        """The relation as plain data."""
        return dict(vars(self)) | {
            "levels": list(self.levels),
            "fits": [fit.as_data() for fit in self.fits],
        }


def is_numeric(results: Results, key: str) -> bool:
    """Whether a setting has at least two values, all of which are numbers."""
    levels = results.levels[results.check_key(key)]
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in levels]
    return len(levels) > 1 and all(numbers)


def scaling(results: Results, of: str, others: Others = "all") -> Scaling:
    """Fits the relation of the measure to a numeric setting, on any scale of the results.

    Args:
        results: The results of the runs.
        of: The setting.
        others: ``base``: only runs with all other settings at their base values; ``all``: a common
            slope within all cells of the other settings.

    Raises:
        InputError: The setting is not numeric, or the measure is not positive.
    """
    if not is_numeric(results, of):
        raise InputError(
            Problem(
                f"the values of {of} are not two or more numbers",
                of,
                expected="a numeric setting, for a scaling relation",
            )
        )
    there = results.values[np.isfinite(results.values)]
    if there.size and there.min() <= 0:
        raise InputError(
            Problem(
                f"{results.measure} is not positive, so no power law or exponential can be fitted",
                given=float(there.min()),
            )
        )
    values = np.log(results.by([of], others, results.values))  # (levels, cells, seeds)
    levels = np.array(results.levels[of], dtype=np.float64)
    runs = values.size
    has_value = np.isfinite(values).any(axis=(1, 2)) & np.isfinite(levels)
    values, levels = values[has_value], levels[has_value]
    order = np.argsort(levels)
    values, levels = values[order], levels[order]
    fits = []
    if len(levels) > 1:
        means = level_means(values)
        if levels[0] > 0:
            fits.append(_fit("power law", np.log(levels), levels, values, means))
        fits.append(_fit("exponential", levels, levels, values, means))
    found = [fit for fit in fits if fit is not None]
    if len(levels) > 2:  # both forms fit two points exactly; rounding must not rank them
        found.sort(key=lambda fit: fit[1])
    ahead = len(levels) * (found[1][1] - found[0][1]) if len(found) == 2 else 0.0
    return Scaling(
        of,
        results.measure,
        others,
        tuple(map(float, levels)),
        runs,
        runs - int(np.isfinite(values).sum()),
        tuple(fit for fit, _ in found),
        bool(len(levels) > 2 and ahead > 2),
    )


def _fit(
    form: Form, x: Array, levels: Array, values: Array, means: Array
) -> tuple[Fit, float] | None:
    """A fit, and the logarithm of the mean squared residual of the levels.

    Args:
        form: The form.
        x: The quantity in which the logarithm of the measure is linear, (levels,).
        levels: The setting's values, (levels,).
        values: The logarithms of the measure, (levels, cells, seeds).
        means: Their means by level, (levels,).
    """
    slopes = _slopes(x, values)
    if not len(slopes):
        return None
    found = estimate(slopes, 0.0)
    slope, interval, p = float(slopes.mean()), found.interval, found.p
    step = _step(form, slope, levels)
    logs = float(np.log(step)) if form == "power law" else step
    ends = None if interval is None else sorted(factor(end * logs) for end in interval)
    line = OLS(means, np.column_stack([np.ones_like(x), x])).fit()
    off = float(np.abs(line.resid).max())
    spread = float(((means - means.mean()) ** 2).sum())
    tiny = len(x) * float(np.finfo(np.float64).eps * np.abs(means).max()) ** 2
    squares = max(float(line.ssr), tiny)
    fit = Fit(
        form,
        slope,
        interval,
        p,
        len(slopes),
        step,
        factor(slope * logs),
        None if ends is None else (ends[0], ends[1]),
        None if len(x) < 3 or spread <= tiny else 1 - squares / spread,
        factor(off),
        _aicc(len(x), squares),
    )
    return fit, float(np.log(squares / len(x))) if squares else -np.inf


def _slopes(x: Array, values: Array) -> Array:
    """The slope of each seed: a least-squares fit with one slope and a constant for each cell.

    A seed counts if one of its cells has at least three levels, or as many as any cell has.
    """
    there = np.isfinite(values)
    enough = min(3, int(there.sum(axis=0).max(initial=0)))
    slopes = []
    for seed in range(values.shape[2]):
        product, square, most = 0.0, 0.0, 0
        for cell in range(values.shape[1]):
            mine = there[:, cell, seed]
            if mine.sum() > 1:
                dx = x[mine] - x[mine].mean()
                product += float(dx @ values[mine, cell, seed])
                square += float(dx @ dx)
                most = max(most, int(mine.sum()))
        if square and most >= enough:
            slopes.append(product / square)
    return np.array(slopes)


def _step(form: Form, slope: float, levels: Array) -> float:
    """A factor or increment of the setting for which the measure's factor is above 1."""
    if form == "power law":
        return 2.0 if slope >= 0 else 0.5
    between = float(np.diff(levels).min())
    return between if slope >= 0 else -between


def _aicc(points: int, squares: float) -> float | None:
    """The corrected Akaike criterion with k = 3 parameters (Hurvich and Tsai, 1989).

    AICc = n log(RSS / n) + 2k + 2k(k + 1) / (n - k - 1).
    """
    if points < 5 or not squares:
        return None
    return float(points * np.log(squares / points) + 6 + 24 / (points - 4))
