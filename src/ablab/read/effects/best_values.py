"""The best value of a numeric setting at each value of a setting on which it depends.

Averaged over optimizers, a best learning rate can be that of none of them. Where two settings are
shown to interact, each value of the one has a best value of the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablab.experiments.short_names import setting_name
from ablab.read.effects.inference import Interval
from ablab.read.effects.interactions import Interaction
from ablab.read.effects.results import Array, Better, Results, Scale
from ablab.read.effects.sentences import number
from ablab.read.effects.trends import Trend, at_best, best_levels, is_end
from ablab.read.medians import spread_words

_MOST = 6  # values of the other setting


@dataclass(frozen=True)
class Best:
    """The best value of a setting at a value of another one.

    Attributes:
        at: The value of the other setting.
        best: The values at which the median over seeds is best, of which there are several if they
            are equally good.
        best_range: The least and the greatest of the best values of single seeds.
        agreed: Whether each seed is best at just these values.
        at_end: Whether nothing was tried beyond it.
        values: The measure of each seed there.
    """

    at: Any
    best: tuple[float, ...]
    best_range: Interval
    agreed: bool
    at_end: bool
    values: tuple[float, ...]


@dataclass(frozen=True)
class BestValues:
    """The best values of a numeric setting, at each value of a setting with which it interacts.

    Attributes:
        key: The numeric setting.
        other: The other setting.
        better: Whether a lower or a higher measure is better.
        tried: All values of the numeric setting, in increasing order.
        cells: The number of cells of further settings over which the measure is averaged.
        bests: The best value at each value of the other setting.
    """

    key: str
    other: str
    better: Better
    tried: tuple[float, ...]
    cells: int
    bests: tuple[Best, ...]

    def as_data(self) -> dict[str, Any]:
        """The best values as plain data."""
        return dict(vars(self)) | {"bests": [dict(vars(each)) for each in self.bests]}


def best_values(
    results: Results, trends: Sequence[Trend], interactions: Sequence[Interaction]
) -> tuple[BestValues, ...]:
    """For each trend, the best values by the setting with which it is shown most to interact.

    Args:
        results: The results of the runs; there are none of steps that some runs did not reach.
        trends: The trends.
        interactions: The interactions.
    """
    found = []
    for trend in trends:
        if not trend.best or trend.unit != "seed" or results.horizon is not None:
            continue
        there = [
            each for each in interactions if each.exists and trend.key in (each.key, each.other)
        ]
        others = [
            (each.p_adjusted or 0.0, each.other if each.key == trend.key else each.key)
            for each in there
        ]
        others = [(p, other) for p, other in others if len(results.levels[other]) <= _MOST]
        made = _of(results, trend, min(others)[1]) if others else None
        if made is not None:
            found.append(made)
    return tuple(found)


def _of(results: Results, trend: Trend, other: str) -> BestValues | None:
    assert trend.better is not None, "known with the best value"
    table = results.by([trend.key, other], "all")  # (levels, others, cells, seeds)
    levels = np.array(results.levels[trend.key], dtype=np.float64)
    order = np.argsort(levels)
    bests = []
    for place, at in enumerate(results.levels[other]):
        found = _best(levels[order], table[order, place], trend.better, results.scale)
        if found is None:
            return None  # a comparison with one that has none would be none
        (best, ends, agreed), scaled = found
        values = tuple(map(float, np.exp(scaled) if results.scale == "ratio" else scaled))
        bests.append(Best(at, best, ends, agreed, is_end(best, trend.tried), values))
    return BestValues(trend.key, other, trend.better, trend.tried, table.shape[2], tuple(bests))


def _best(
    levels: Array, table: Array, better: Better, scale: Scale
) -> tuple[tuple[tuple[float, ...], Interval, bool], Array] | None:
    """The best levels of (levels, cells, seeds), of single seeds too, and the values of the first.

    A level counts if all of its runs have a result.
    """
    whole = np.isfinite(table).all(axis=(1, 2))
    if not whole.any():
        return None
    curves, levels = table[whole].mean(axis=1), levels[whole]
    best, ends, agreed = best_levels(levels, curves, better, scale)
    assert ends is not None, "it is declared what is better"
    return (best, ends, agreed), curves[int(np.flatnonzero(levels == best[0])[0])]


def best_values_sentence(
    found: BestValues, measure: str, names: Mapping[str, str] | None = None
) -> str:
    """The best value for each value of the other setting, and what the measure is there."""
    key = found.key if names is None else names[found.key]
    word = "lowest" if found.better == "lower" else "highest"
    seeds = len(found.bests[0].values)
    told = [_told(each, key, _named(found, each, names)) for each in found.bests]
    low, high = number(found.tried[0]), number(found.tried[-1])
    ends = [each for each in found.bests if each.at_end]
    end = "; try values beyond an end" if ends else ""
    of = "one seed" if seeds == 1 else f"medians and ranges of {seeds} seeds"
    if found.cells > 1:
        of += f", averaged over {found.cells} cells of the other settings"
    return (
        f"{measure} is {word} {'; '.join(told)} ({of}; {len(found.tried)} values from {low} to "
        f"{high}{end}). Each best value was chosen on these seeds, which flatters it."
    )


def _told(each: Best, key: str, other: str) -> str:
    low, high = map(number, each.best_range)
    place = f"{at_best(key, each.best)}{', an end,' if each.at_end else ''} with {other}"
    range_ = "" if each.agreed else f", in single seeds at {low} to {high}"
    return f"{place}: {spread_words(each.values, number)}{range_}"


def _named(found: BestValues, each: Best, names: Mapping[str, str] | None) -> str:
    if names is None:
        return f"{found.other}={each.at}"
    return setting_name(names[found.other], each.at)
