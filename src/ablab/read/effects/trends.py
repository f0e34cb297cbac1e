"""Trends over numeric settings with many values, in place of a comparison of each value.

Sixteen learning rates are not sixteen questions. For each setting there is one test of whether the
measure rises or falls, by ranks, and the value at which the measure is best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import page_trend_test, rankdata, spearmanr

from ablab.config.wording import counted
from ablab.experiments.inactive import Inactive
from ablab.read.effects.inference import ALPHA, Interval, holm
from ablab.read.effects.level_means import level_means
from ablab.read.effects.results import Array, Better, Results, Scale
from ablab.read.effects.scaling import is_numeric
from ablab.read.effects.sentences import number, p_value

MANY = 7
"""Numeric settings with at least so many values are not compared value by value."""
_PERMUTATIONS = 9999


@dataclass(frozen=True)
class Trend:
    """How a measure changes with a numeric setting.

    Attributes:
        key: The setting.
        unit: What the test is over: ``seed`` (Page's test, of values that all seeds have), or
            ``point`` (Spearman's, of the points at which several settings vary together).
        values: The values that are used, in increasing order.
        tried: All values of the setting, in increasing order.
        left_out: The number of values, or points, of which at least half of the runs have no
            result.
        count: The number of seeds or points.
        correlation: The rank correlation, averaged over seeds; 0 in a seed whose values are equal.
        p: The p-value of no trend, two-sided; None with a single seed.
        p_adjusted: The same, corrected for the number of trends; None if ``p`` is.
        better: Whether a lower or a higher measure is better; None if it is not declared.
        best: The values at which the median over seeds is best, as entries tell it, of which there
            are several if they are equally good; none if it is not declared what is better.
        best_range: The least and the greatest of the best values of the seeds whose values differ,
            or of the values of the best quarter of the points; None if it is not declared what is
            better.
        flat: The number of seeds whose values are all equal.
        agreed: Whether each seed whose values differ is best at just these values.
    """

    key: str
    unit: Literal["seed", "point"]
    values: tuple[float, ...]
    tried: tuple[float, ...]
    left_out: int
    count: int
    correlation: float
    p: float | None
    p_adjusted: float | None
    better: Better | None
    best: tuple[float, ...]
    best_range: Interval | None
    flat: int = 0
    agreed: bool = False

    @property
    def exists(self) -> bool:
        """Whether a trend is shown."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    @property
    def at_end(self) -> bool:
        """Whether nothing was tried beyond the best value, where there may be better ones."""
        return len(self.tried) >= MANY and is_end(self.best, self.tried)

    def as_data(self) -> dict[str, Any]:
        """The trend as plain data."""
        data = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        return data | {"exists": self.exists, "at_end": self.at_end}


def is_end(best: Sequence[float], tried: Sequence[float]) -> bool:
    """Whether a single value is best, and is the least or the greatest of all that were tried."""
    return len(best) == 1 and best[0] in (tried[0], tried[-1])


def has_many(results: Results, key: str) -> bool:
    """Whether a setting has too many values to compare each of them: numbers, or points."""
    return len(results.levels[key]) >= MANY


def trends(
    results: Results, keys: Sequence[str], points: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[tuple[Trend, ...], dict[str, str]]:
    """The trends over all settings with many values.

    Args:
        results: The results of the runs.
        keys: The settings.
        points: For each key of settings that vary together, the settings of each of its values.

    Returns:
        The trends, and the reasons why numbers, or settings that vary together, have none, by
        setting.
    """
    found: dict[str, Trend | str] = {}
    for key in keys:
        if not has_many(results, key):
            continue
        if key in points:
            for name in points[key][0]:
                found[name] = _over_points(results, key, name, points[key])
        elif is_numeric(results, key):
            found[key] = _over_seeds(results, key)
    known = [each for each in found.values() if isinstance(each, Trend)]
    adjusted = holm([each.p for each in known])
    made = tuple(replace(t, p_adjusted=p) for t, p in zip(known, adjusted, strict=True))
    return made, {name: each for name, each in found.items() if isinstance(each, str)}


def trend_sentence(found: Trend, measure: str) -> str:
    """The best value and the trend, in a sentence; a best value within the range comes first."""
    over = (
        f"{len(found.values)} values from {number(found.values[0])} to {number(found.values[-1])}"
    )
    test = "Page's test" if found.unit == "seed" else "Spearman's test"
    tested = f"rank correlation {found.correlation:.2f}, {counted(found.count, found.unit)}"
    if found.p is not None:
        tested += f", {test}, adjusted p {p_value(found.p_adjusted)}"
    if found.left_out:
        its = "its" if found.left_out == 1 else "their"
        over += f" ({found.left_out} more: at least half of {its} runs have no result)"
    verb = "rises" if found.correlation > 0 else "falls"
    if not found.best:
        if found.exists:
            return f"{measure} {verb} with {found.key}, over {over} ({tested})."
        inside = measure[:1].lower() + measure[1:]
        return (
            f"Undecided whether {inside} rises or falls with {found.key}, over {over} ({tested})."
        )
    said = f"{measure} is {_best_word(found)} {at_best(found.key, found.best)}"
    said += _best_range(found) + ", "
    said += f"an end of the {over}: try values beyond it" if found.at_end else f"of {over}"
    if not found.at_end:  # it rises to both sides, so what it does on the whole says little
        return f"{said} ({tested})."
    if found.exists:
        return f"{said}; on the whole, it {verb} ({tested})."
    return f"{said}; undecided whether it rises or falls on the whole ({tested})."


def trend_table(
    found: Sequence[Trend], names: Mapping[str, str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Trends as a text table: a header and a row for each.

    Args:
        found: The trends of a measure.
        names: Shorter names of settings.
    """
    best = _best_word(found[0]) if found else "best"  # all trends are of one measure
    header = ["setting", "values", "from", "to", "rank correlation", "adjusted p", f"{best} at",
              "range of the best", "on the whole"]  # fmt: skip
    rows = []
    for each in found:
        verdict = ("rises" if each.correlation > 0 else "falls") if each.exists else "undecided"
        ends = (
            ""
            if each.best_range is None
            else " to ".join(dict.fromkeys(map(number, each.best_range)))
        )
        rows.append([
            (names or {}).get(each.key, each.key), str(len(each.values)),
            *(number(end) for end in (each.values[0], each.values[-1])),
            f"{each.correlation:.2f}", "" if each.p is None else p_value(each.p_adjusted),
            several(each.best), ends, verdict,
        ])  # fmt: skip
    return header, rows


def at_best(key: str, best: Sequence[float]) -> str:
    """Where a measure is best, in words; at several values if they are equally good."""
    if len(best) < 3:
        return f"at {key}={several(best)}{' alike' if len(best) > 1 else ''}"
    return f"at {len(best)} values of {key} from {number(best[0])} to {number(best[-1])} alike"


def several(best: Sequence[float]) -> str:
    """One value, two, or the ends of more."""
    if len(best) < 3:
        return " and ".join(map(number, best))
    return f"{number(best[0])} to {number(best[-1])} ({len(best)})"


def _best_word(found: Trend) -> str:
    return "best" if found.better is None else "lowest" if found.better == "lower" else "highest"


def _best_range(found: Trend) -> str:
    """How far the best value is the same for all seeds or among the best points."""
    assert found.best_range is not None, "known with the best value"
    low, high = map(number, found.best_range)
    if found.unit == "point":
        return "" if low == high else f" (the best quarter of points: {low} to {high})"
    if found.count == 1:
        return " (one seed)"
    if not found.agreed:
        return f" (in single seeds at {low} to {high})"
    rest = found.count - found.flat
    some = "the one seed whose" if rest == 1 else f"each of the {rest} seeds whose"
    return f" (in {some} values differ)" if found.flat else " in each seed"


def _over_seeds(results: Results, key: str) -> Trend | str:
    """The trend over values that every seed has, averaged over the other settings."""
    table = results.by([key], "all")  # (levels, cells, seeds)
    every = np.array(results.levels[key], dtype=np.float64)
    order = np.argsort(every)
    table, every = table[order], every[order]
    used = _in_most_runs(table)
    table, levels = table[used], every[used]
    if len(levels) < 3:
        return f"only {len(levels)} of its {len(every)} values have a result in most runs"
    table = table[:, np.isfinite(table).all(axis=0).any(axis=1)]  # cells that some seed has whole
    table = table[:, :, np.isfinite(table).all(axis=(0, 1))]
    if not table.size:
        return (
            f"no seed has a result at each of its {len(levels)} values that have one in most runs"
        )
    curves = table.mean(axis=1)  # (levels, seeds)
    if not np.ptp(curves, axis=0).any():
        return "all values have the same results"
    best, ends, agreed = best_levels(levels, curves, results.better, results.scale)
    flat = int((np.ptp(curves, axis=0) == 0).sum())
    return Trend(
        key, "seed", tuple(map(float, levels)), tuple(map(float, every)), int((~used).sum()),
        curves.shape[1], _correlation(curves), _page(curves.T), None, results.better, best, ends,
        flat, agreed,
    )  # fmt: skip


def _in_most_runs(table: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which levels of (levels, cells, seeds) have a result in more than half of the runs."""
    found: np.ndarray[Any, np.dtype[np.bool_]] = np.isfinite(table).mean(axis=(1, 2)) > 0.5
    return found


def _correlation(curves: Array) -> float:
    """The mean rank correlation of (levels, seeds) in order; 0 in a seed without a change."""
    changes = curves[:, np.ptp(curves, axis=0) > 0].T
    places = np.arange(len(curves))
    return float(sum(spearmanr(places, each).statistic for each in changes) / curves.shape[1])


def _page(curves: Array) -> float | None:
    """The two-sided p-value of Page's test (Page, 1963) of seeds in rows; None with one seed.

    Up to eight values and twelve seeds (of three values, twenty) it is exact, beyond that SciPy
    takes the normal approximation. Its p-values are those of ranks without ties. Where there are
    ties, such as steps that were not reached, the ranks of each seed are permuted instead.
    """
    if len(curves) < 2:
        return None
    ranks = np.apply_along_axis(rankdata, 1, curves)
    if all(len(set(each)) == len(each) for each in ranks):
        one = [page_trend_test(each, ranked=True).pvalue for each in (ranks, ranks[:, ::-1])]
        return float(min(1.0, 2 * min(one)))
    places = np.arange(ranks.shape[1]) - (ranks.shape[1] - 1) / 2
    generator = np.random.default_rng(0)  # the same p-value every time
    drawn = generator.permuted(np.broadcast_to(ranks, (_PERMUTATIONS, *ranks.shape)), axis=2)
    sizes = np.abs((drawn @ places).sum(axis=1))
    size = abs(float((ranks @ places).sum()))
    return float((1 + (sizes >= size - 1e-9).sum()) / (1 + _PERMUTATIONS))


def best_levels(
    levels: Array, curves: Array, better: Better | None, scale: Scale = "difference"
) -> tuple[tuple[float, ...], Interval | None, bool]:
    """The levels with the best median, the range of the best ones of seeds, whether these agree.

    Args:
        levels: The values of a setting, in increasing order, (levels,).
        curves: The measure, (levels, seeds).
        better: Which values are better; with None, there is no best level.
        scale: The scale of the measure; on that of ratios, it is a logarithm.

    Returns:
        The best levels, in order; the least and the greatest of the best levels of seeds whose
        values differ; and whether all of these seeds are best at just the same levels.
    """
    if better is None:
        return (), None, False
    signed = curves if better == "lower" else -curves
    medians = np.median(signed, axis=1)
    size = float(scale == "ratio")  # a logarithm is no more accurate than its number
    here = _is_least(medians[:, None], size)[:, 0]
    signed = signed[:, ~_is_least(signed, size).all(axis=0)]
    if not signed.size:
        return _distinct(levels[here]), (float(levels.min()), float(levels.max())), False
    best_of_seeds = _is_least(signed, size)  # (levels, seeds)
    each = levels[best_of_seeds.any(axis=1)]
    agreed = bool((best_of_seeds == here[:, None]).all())
    return _distinct(levels[here]), (float(each.min()), float(each.max())), agreed


def _is_least(values: Array, size: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether each value is the least of its column, but for rounding, (levels, seeds).

    Args:
        values: The values, (levels, seeds).
        size: The least size of the numbers from which they were computed.
    """
    least = values.min(axis=0)
    largest = np.maximum(np.maximum(np.abs(values), np.abs(least)), size)
    return np.asarray(values - least <= 1e-12 * largest)


def _over_points(
    results: Results, key: str, name: str, points: Sequence[Mapping[str, Any]]
) -> Trend | str:
    """The trend over points at which several settings vary together, of means over seeds.

    Points at which the setting does not vary are not used. The means are corrected for missing
    runs, which would otherwise count as a difference of the cells that have them.
    """
    idle = [point[name] is None or isinstance(point[name], Inactive) for point in points]
    varies = ~np.array(idle)
    given = [point[name] for point, no in zip(points, idle, strict=True) if not no]
    if any(not isinstance(each, int | float) or isinstance(each, bool) for each in given):
        return "its values are not numbers"
    table = results.by([key], "all")[varies]  # (points, cells, seeds)
    used, every = _in_most_runs(table), np.array(given, dtype=np.float64)
    values = every[used]
    if len(values) < MANY:
        there = f"the {len(every)} points at which it is a number"
        return f"only {len(values)} of {there} have a result in most runs"
    if len(set(values)) < 2:
        return "it has a single value where most runs have a result"
    means = _means(table[used], results.scale)
    if np.ptp(means) == 0:
        return "all points have the same results"
    tested = spearmanr(values, means)
    best, ends, _ = best_levels(values, means[:, None], results.better, results.scale)
    if results.better is not None:
        ranked = values[np.argsort(means if results.better == "lower" else -means)]
        first = ranked[: max(1, len(ranked) // 4)]
        ends = (float(first.min()), float(first.max()))
    return Trend(
        name, "point", _distinct(values), _distinct(every), int((~used).sum()), len(values),
        float(tested.statistic), float(tested.pvalue), None, results.better, best, ends,
    )  # fmt: skip


def _means(table: Array, scale: Scale) -> Array:
    """The mean of each level of (levels, cells, seeds), corrected for missing runs.

    Rounded to twelve digits, so that levels whose means are equal are ties; on the scale of ratios,
    to twelve of the number whose logarithm it is.
    """
    means = level_means(table)
    if scale == "ratio":
        return np.asarray(np.round(means, 12))
    return np.array([float(f"{mean:.12g}") for mean in means])


def _distinct(values: Array | Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted(set(map(float, values))))
