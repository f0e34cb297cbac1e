"""Tests of a trend over the values of a setting, and of the factor from each to the next."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ablab.read.effects.inference import ALPHA, Estimate, estimate
from ablab.read.hypothesis_tests import Floats

ONE_SEED = "one seed shows no order"


@dataclass(frozen=True)
class Trend:
    """The trend of a measure along the values of a setting.

    Attributes:
        slope: The mean change per value, of the measure or of its logarithm.
        interval: The 95% confidence interval of the slope over seeds; None with too few seeds.
        p: The p-value of an order in the expected direction; None if it cannot be computed.
        p_reversed: The p-value of an order in the opposite direction.
        steps: The mean change from each value to the next, times the expected sign; of the seeds
            that have all values, if there are any.
        text: The result as text.
        alpha: The significance level.
    """

    slope: float
    interval: tuple[float, float] | None
    p: float | None
    p_reversed: float | None
    steps: tuple[float, ...]
    text: str
    alpha: float = ALPHA

    @property
    def reversed(self) -> bool:
        """Whether the order is significant in the opposite direction."""
        return self.p_reversed is not None and self.p_reversed < self.alpha


def trend(table: Floats, sign: int, ratio: bool = False, alpha: float = ALPHA) -> Trend:
    """Tests whether a measure rises or falls along the values of a setting.

    With three or more seeds, the slope over the ranks of the setting is computed for each seed and
    tested with Student's t-test. With two, Page's test of ordered alternatives (Page, 1963) is
    used, which needs no variance: by chance, k values are in order in both with probability
    1/k!². It is one-sided, for the direction that is expected. One seed shows no order. If the
    values are positive and ratios matter, their logarithm is used.

    Args:
        table: The measure, (values, seeds).
        sign: 1 if the measure is expected to rise, -1 if it is expected to fall.
        ratio: Whether ratios matter, as in effects.
        alpha: The significance level.
    """
    logarithmic = spans_ratios(table, ratio)
    values = np.log(table) if logarithmic else table
    whole = values[:, np.isfinite(values).all(axis=0)]
    ranks = np.arange(len(values)) - (len(values) - 1) / 2
    means = whole.mean(axis=1) if whole.shape[1] else np.nanmean(values, axis=1)
    steps = tuple(float(sign * each) for each in np.diff(means))
    slopes = ranks @ whole / (ranks @ ranks)
    unit = " in the logarithm" if logarithmic else ""
    if whole.shape[1] >= 3:
        found = estimate(slopes, float(np.abs(values[np.isfinite(values)]).max()), alpha)
        ahead = sign * (found.mean or 0.0)
        ways = (found.p if ahead > 0 else 1.0, found.p if ahead < 0 else 1.0)
        text = f"a change of {found.mean:.3g}{unit} per value {interval_text(found)}"
        return Trend(float(slopes.mean()), found.interval, *ways, steps, text, alpha)
    if not whole.shape[1]:
        return Trend(float("nan"), None, None, None, steps, "no seed has a complete set of values")
    if whole.shape[1] == 1:
        some = ONE_SEED if table.shape[1] == 1 else "the only seed with all values shows no order"
        return Trend(float(slopes.mean()), None, None, None, steps, some)
    chance, other = _page(whole, sign), _page(whole, -sign)
    text = f"2 seeds: p = {chance:.2g} for this order"
    return Trend(float(slopes.mean()), None, chance, other, steps, text, alpha)


def spans_ratios(table: Floats, ratio: bool) -> bool:
    """Whether a trend is of logarithms: values are positive, and ratios matter or they span three.

    Args:
        table: The measure, (values, seeds), with NaN for missing ones.
        ratio: Whether effects compare ratios of the measure.
    """
    known = table[np.isfinite(table)]
    return bool(known.min() > 0 and (ratio or known.max() / known.min() > 3))


def factor(table: Floats, sign: int, alpha: float = ALPHA) -> "Paired | str":
    """The factor by which a measure falls or rises from one value of a setting to the next.

    It is the exponential of the slope of the logarithm over the ranks of the setting, for each
    seed and as the mean over seeds.

    Args:
        table: The measure, (values, seeds).
        sign: 1 if the measure is expected to rise, -1 if it is expected to fall.
        alpha: The significance level.

    Returns:
        The factors, or a sentence with the reason if a value is not positive or no seed has all
        values.
    """
    whole = table[:, np.isfinite(table).all(axis=0)]
    if not whole.shape[1]:
        return "no seed has a complete set of values"
    if whole.min() <= 0:
        return "a factor requires positive values"
    ranks = np.arange(len(whole)) - (len(whole) - 1) / 2
    logarithms = np.log(whole)
    slopes = sign * (ranks @ logarithms) / (ranks @ ranks)
    found = _paired(slopes, float(np.abs(logarithms).max()), alpha)
    low, high = found.interval or (None, None)
    interval = None if low is None or high is None else (float(np.exp(low)), float(np.exp(high)))
    return Paired(np.exp(slopes), float(np.exp(found.mean)), interval, found.size)


def _page(values: Floats, sign: int) -> float:
    """The p-value of the observed order if all orders are equally likely (Page's test)."""
    if len(values) < 3:  # with two values, a sign test over seeds
        return float(0.5 ** values.shape[1]) if (sign * np.diff(values, axis=0) > 0).all() else 1.0
    ranked = stats.rankdata(sign * values.T, axis=1)
    found = stats.page_trend_test(ranked, ranked=True, method="exact")
    return float(found.pvalue)


@dataclass(frozen=True)
class Paired:
    """A mean over seeds.

    Attributes:
        values: The value of each seed, (seeds,).
        mean: Their mean.
        interval: The 95% confidence interval of the mean; None if there is none.
        size: The largest absolute value of the numbers from which the values were computed.
    """

    values: Floats
    mean: float
    interval: tuple[float, float] | None
    size: float


def _paired(values: Floats, size: float, alpha: float) -> Paired:
    found = estimate(values, size, alpha)
    return Paired(values, float(values.mean()), found.interval, size)


def interval_text(found: Estimate | Paired) -> str:
    """An interval as text, or the reason why there is none."""
    if found.interval is None:
        seeds = found.seeds if isinstance(found, Estimate) else len(found.values)
        return "(one seed)" if seeds == 1 else f"(equal for all {seeds} seeds)"
    low, high = found.interval
    return f"[{low:.4g}, {high:.4g}]"
