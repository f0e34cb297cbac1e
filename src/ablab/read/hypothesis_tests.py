"""The runs that verdicts are about, and tests of their trends and means."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from ablab.experiments.cell_text import matches
from ablab.experiments.grid import INACTIVE
from ablab.read.effects.inference import ALPHA, Estimate, estimate

Floats = NDArray[np.float64]
ONE_SEED = "one seed shows no order"
_GEOMETRIC = (
    pl.when(pl.col("value").len() == 1)
    .then(pl.col("value").first())
    .otherwise(pl.col("value").log().mean().exp())
)


class Sample:
    """The runs of some cells, with a measure of each run.

    Args:
        frame: A row for each run: the grid's keys, ``seed``, ``value``, ``not_before``, ``reason``.
        keys: The grid's keys.
        nullable: Those of which null is a value. In a run in which another key does not vary, its
            value is null.
        alpha: The significance level at which these runs are tested.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        keys: list[str],
        nullable: Collection[str] = (),
        alpha: float = ALPHA,
    ) -> None:
        self.frame, self.keys, self.nullable, self.alpha = frame, keys, nullable, alpha

    def where(self, cell: Mapping[str, Any]) -> "Sample | str":
        """The runs of a cell; if there are none, a sentence with the reason."""
        frame = self.frame
        for key, value in cell.items():
            if key not in self.keys:
                return f"{key} does not vary in this grid"
            match = matches(frame[key].to_list(), value, key not in self.nullable)
            if not any(match):
                there = ", ".join(str(each) for each in frame[key].unique(maintain_order=True))
                return f"this grid has no {key}={value}, only {there}"
            frame = frame.filter(pl.Series(match))
        return self.of(frame, [key for key in self.keys if key not in cell])

    def of(self, frame: pl.DataFrame, keys: list[str] | None = None) -> "Sample":
        """Some of these runs, with all keys or some."""
        return Sample(frame, self.keys if keys is None else keys, self.nullable, self.alpha)

    def active(self, key: str) -> "Sample":
        """The runs in which a key of the grid varies."""
        column = self.frame[key]
        idle = column.cast(pl.String) == INACTIVE
        if key not in self.nullable:
            idle |= column.is_null()
        return self.of(self.frame.filter(~idle.fill_null(False)))

    @cached_property
    def known(self) -> pl.DataFrame:
        """The rows of runs that have a value."""
        return self.frame.filter(pl.col("value").is_not_null())

    @property
    def seeds(self) -> int:
        """The number of seeds, with those whose runs have no value."""
        return self.frame["seed"].n_unique()

    @property
    def mean(self) -> float:
        """The mean over seeds of the means over cells."""
        return float(self.by_seed()["value"].mean())  # type: ignore[arg-type]

    @property
    def unreached(self) -> int:
        """The number of runs that did not reach the step that is measured."""
        return int(self.frame["not_before"].is_not_null().sum())

    @property
    def measured(self) -> pl.DataFrame:
        """The rows of runs that have a value, or a step that they did not reach."""
        return self.frame.filter(pl.col("value").is_not_null() | pl.col("not_before").is_not_null())

    @property
    def lost(self) -> pl.DataFrame:
        """The rows of runs that are neither a number nor a step that was not reached."""
        return self.frame.filter(pl.col("value").is_null() & pl.col("not_before").is_null())

    @property
    def diverged(self) -> int:
        """The number of runs that have no value because they diverged."""
        return self.lost["status"].to_list().count("diverged")

    def by_seed(self) -> pl.DataFrame:
        """The mean over cells for each seed: a frame with ``seed`` and ``value``."""
        return self.known.group_by("seed").agg(pl.col("value").mean()).sort("seed")

    def seed_values(self, geometric: bool) -> Floats:
        """The mean over cells of each seed, (seeds,); the geometric mean where ratios matter."""
        if not geometric:
            return self.by_seed()["value"].to_numpy()
        return self.known.group_by("seed").agg(_GEOMETRIC).sort("seed")["value"].to_numpy()

    def why(self) -> str:
        """The reasons why runs have no value, each with its count."""
        return why_lost(self.lost)

    @property
    def is_lost(self) -> bool:
        """Whether no run has a value, not even a step that it did not reach."""
        return self.lost.height == self.frame.height

    def at(self, key: str, label: Any) -> "Sample":
        """The runs with a label of an axis."""
        there = self.frame.filter(pl.col(key).eq_missing(pl.lit(label)))
        return self.of(there, [each for each in self.keys if each != key])

    def levels(self, key: str) -> "list[Any] | str":
        """The values of a setting in order; a sentence with the reason if it does not vary.

        Cells in which it does not vary have none.
        """
        if key not in self.keys:
            return f"{key} does not vary in this grid"
        labels = self.active(key).frame[key].unique(maintain_order=True).to_list()
        if len(labels) < 2:
            return f"{key} has only one value"
        numbers = all(isinstance(each, int | float) for each in labels)
        return sorted(labels) if numbers else labels

    def by(self, key: str, geometric: bool = False) -> "tuple[list[Any], Floats] | str":
        """The values of a setting, and the mean over the other settings for each value and seed.

        Args:
            key: The setting.
            geometric: Whether to take geometric means, of values that are all positive.

        Returns:
            The values in order and a table (values, seeds), with NaN where no run has a value. If
            the setting cannot be compared, a sentence with the reason.
        """
        labels = self.levels(key)
        if isinstance(labels, str):
            return labels
        seeds = self.frame["seed"].unique().sort().to_list()
        table = np.full((len(labels), len(seeds)), np.nan)
        values = _GEOMETRIC if geometric else pl.col("value").mean()
        grouped = self.active(key).known.group_by(key, "seed").agg(values)
        for label, seed, value in grouped.iter_rows():
            table[labels.index(label), seeds.index(seed)] = value
        if np.isnan(table).all(axis=1).any():
            empty = [str(each) for each, row in zip(labels, table, strict=True)
                     if np.isnan(row).all()]  # fmt: skip
            return f"no run has a value at {key}={', '.join(empty)}: {self.why()}"
        return labels, table


def why_lost(lost: pl.DataFrame) -> str:
    """The reasons why runs have no value, each with its count."""
    counts = lost["reason"].value_counts(sort=True)
    return ", ".join(
        f"{count} {reason}" for reason, count in counts.iter_rows() if reason is not None
    )


def gaps(*samples: Sample) -> str:
    """A remark about runs without a value, counted in each sample; may be empty."""
    lost = [each.lost for each in samples]
    count = sum(each.height for each in lost)
    if not count:
        return ""
    runs = "runs" if samples[-1].frame.height != 1 else "run"
    of = [f"{each.frame.height - gone.height} of {each.frame.height}"
          for each, gone in zip(samples, lost, strict=True)]  # fmt: skip
    have = "has" if len(of) == 1 and of[0].startswith("1 of") else "have"
    return f"; {' vs '.join(of)} {runs} {have} a value ({why_lost(pl.concat(lost))})"


@dataclass(frozen=True)
class Trend:
    """The trend of a measure along the values of a setting.

    Attributes:
        slope: The mean change per value, of the measure or of its logarithm.
        interval: The 95% confidence interval of the slope over seeds; None with too few seeds.
        p: The p-value of an order in the expected direction; None if it cannot be computed.
        p_reversed: The p-value of an order in the opposite direction.
        steps: The mean change from each value to the next, times the expected sign.
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
    1/k!². One seed shows no order. If the values are positive and ratios matter, their logarithm
    is used.

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
    steps = tuple(float(sign * each) for each in np.diff(np.nanmean(values, axis=1)))
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


def levels_of(sample: Sample, other: Sample) -> Floats | None:
    """The values of two samples, by the settings with a value in common and by seed.

    Each sample is averaged over its other settings; see :func:`apart`.

    Returns:
        The values, (2, cells, seeds), with NaN for missing ones; None if a sample has no value.
    """
    keys = shared_keys(sample, other)
    rows = [
        each.known.group_by([*keys, "seed"]).agg(pl.col("value").mean()).iter_rows()
        for each in (sample, other)
    ]
    found = [{(tuple(cell), seed): value for *cell, seed, value in each} for each in rows]
    if not all(found):
        return None
    cells = {
        cell: place for place, cell in enumerate(dict.fromkeys(c for f in found for c, _ in f))
    }
    seeds = {seed: place for place, seed in enumerate(sorted({s for f in found for _, s in f}))}
    values = np.full((2, len(cells), len(seeds)), np.nan)
    for side, each in enumerate(found):
        for (cell, seed), value in each.items():
            values[side, cells[cell], seeds[seed]] = value
    return values


def why_no_pair(sample: Sample, other: Sample) -> str:
    """The reason why no run of one sample can be compared with one of the other."""
    if set(sample.measured["seed"]) & set(other.measured["seed"]):
        return "no variant of one side has the other settings of one of the other side"
    return "no seed has a value on both sides"


def apart(*samples: Sample) -> str:
    """A remark about settings that have no value in common, so that they differ too; may be empty.

    Such as the optimizer, if momentum is compared with none, or momentum, if optimizers are.
    """
    remarks = []
    for key, labels in _apart_keys(samples).items():
        if all(each.active(key).frame.height for each in samples):
            names = [", ".join(map(str, each)) for each in labels]
            remarks.append(f"{key} differs as well ({' vs '.join(names)})")
        elif len(samples) == 2:
            remarks.append(f"{key} does not vary on one side, and the other is averaged over it")
        else:
            remarks.append(f"{key} does not vary in all of these, and the others are averaged")
    return "".join(f"; {each}" for each in remarks)


def shared_keys(*samples: Sample) -> list[str]:
    """The settings of all samples of which any two samples have a value in common."""
    without = _apart_keys(samples)
    return [key for key in _keys_of_all(samples) if key not in without]


def _apart_keys(samples: Sequence[Sample]) -> dict[str, list[list[Any]]]:
    """The settings of which two samples have no value in common, with the values of each."""
    found = {}
    for key in _keys_of_all(samples):
        labels = [each.frame[key].unique(maintain_order=True).to_list() for each in samples]
        if any(not any(a in two for a in one) for one, two in combinations(labels, 2)):
            found[key] = labels
    return found


def _keys_of_all(samples: Sequence[Sample]) -> list[str]:
    return [key for key in samples[0].keys if all(key in each.keys for each in samples)]


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
