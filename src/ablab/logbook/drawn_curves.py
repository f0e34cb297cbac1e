"""Selects the curves of a page's figure, at a resolution that bounds the size of the page."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import polars as pl

from ablab.logbook.plotdata import VariantCosts
from ablab.read.bands import MAX_POINTS, Band, bands
from ablab.read.measure_words import column_words
from ablab.read.step_costs import StepCosts
from ablab.store.metrics import column_labels
from ablab.store.store import RunRecord
from ablab.tasks.config import Direction
from ablab.watching.names import is_statistic

DRAWN = ("train_loss", "eval_loss", "eval_accuracy")
LOSSES = "both-losses"
"""The name of the figure that has the training loss and the held-out loss."""
_NUMBERS = 800_000  # maximum count of numbers on a page, at four bytes each
_FACTORS = 200_000  # the same for measures by factor
_FEWEST = 40  # minimum number of points of a curve
_STATISTICS = 0.4  # the share of the page for statistics, if there are any

SeedDetail = Literal["extremes", "values", "none"]


@dataclass(frozen=True)
class Detail:
    """The resolution of the curves of one kind.

    Attributes:
        points: The maximum number of points of a curve; 0 if the curves are left out.
        seeds: What is kept of each seed's curve: also the lowest and highest value of each point,
            the values only, or nothing.
    """

    points: int
    seeds: SeedDetail


def curve_detail(
    variants: int, seeds: int, measures: int, statistics: int
) -> tuple[Detail, Detail]:
    """The resolution of measures and of statistics.

    Args:
        variants: The number of variants.
        seeds: The number of seeds of a variant.
        measures: The number of columns that are measures.
        statistics: The number of columns that are statistics.
    """
    share = _NUMBERS if not statistics else int((1 - _STATISTICS) * _NUMBERS)
    first = _detail(share, variants * measures, seeds)
    left = share - first.points * variants * measures * _numbers(first.seeds, seeds)
    if not statistics:
        return first, Detail(0, "none")
    left += int(_STATISTICS * _NUMBERS)
    second = _detail(left, variants * statistics, seeds)
    fits = second.points * variants * statistics * _numbers(second.seeds, seeds) <= left
    return first, second if fits else Detail(0, "none")


def _detail(numbers: int, curves: int, seeds: int) -> Detail:
    """The finest resolution at which curves need no more than this count of numbers."""
    kinds: tuple[tuple[SeedDetail, int], ...] = (("extremes", 200), ("values", 80))
    for kind, fewest in kinds if seeds > 1 else ():
        points = numbers // max(1, curves * _numbers(kind, seeds))
        if points >= fewest:
            return Detail(min(MAX_POINTS, points), kind)
    return Detail(min(MAX_POINTS, max(_FEWEST, numbers // max(1, 3 * curves))), "none")


def _numbers(kind: SeedDetail, seeds: int) -> int:
    """The count of numbers for a point of a variant and its seeds."""
    return 3 + {"extremes": 3 * seeds, "values": seeds, "none": 0}[kind]


def drawn_curves(
    metrics: pl.DataFrame,
    keys: list[str],
    direction: Callable[[str], Direction | None] = lambda column: None,
    nullable: Collection[str] | None = None,
) -> dict[str, list[Band]]:
    """The curves of the page's figure, by column, thinned to limit the size of the page.

    Args:
        metrics: A row for each run and step, with the variant's keys and ``seed``.
        keys: The variant's keys.
        direction: Which values of a column are better.
        nullable: The keys of which null is a value; see :func:`ablab.read.bands.bands`.
    """
    measures = [name for name in DRAWN if name in metrics.columns]
    statistics = [name for name in metrics.columns if is_statistic(name)]
    variants = _variants(metrics, keys)
    seeds = metrics["seed"].n_unique()
    first, second = curve_detail(variants, seeds, len(measures), len(statistics))
    wanted = dict.fromkeys(measures, first)
    wanted |= dict.fromkeys(statistics, second) if second.points else {}
    return _bands(metrics, keys, wanted, direction, nullable)


def drawn_factors(
    evaluations: pl.DataFrame,
    keys: list[str],
    columns: Sequence[str],
    direction: Callable[[str], Direction | None] = lambda column: None,
    nullable: Collection[str] | None = None,
) -> dict[str, list[Band]]:
    """The curves of measures by factor, by column; empty if they do not fit on the page.

    Args:
        evaluations: A row for each run and evaluation, with the variant's keys and ``seed``.
        keys: The variant's keys.
        columns: The columns of the measures.
        direction: Which values of a column are better.
        nullable: The keys of which null is a value; see :func:`ablab.read.bands.bands`.
    """
    curves, seeds = _variants(evaluations, keys) * len(columns), evaluations["seed"].n_unique()
    detail = _detail(_FACTORS, curves, seeds)
    if detail.points * curves * _numbers(detail.seeds, seeds) > _FACTORS:
        return {}
    return _bands(evaluations, keys, dict.fromkeys(columns, detail), direction, nullable)


def _variants(rows: pl.DataFrame, keys: list[str]) -> int:
    """The number of variants; the rows of a variant are adjacent."""
    return (rows.select(pl.struct(keys).rle_id().max()).item() or 0) + 1 if keys else 1


def _bands(
    metrics: pl.DataFrame,
    keys: list[str],
    wanted: Mapping[str, Detail],
    direction: Callable[[str], Direction | None],
    nullable: Collection[str] | None,
) -> dict[str, list[Band]]:
    """The curves of columns at their resolutions; columns without values are left out."""
    found = {
        column: [
            _with_seeds(band, detail.seeds)
            for band in bands(metrics, keys, column, detail.points, direction(column), nullable)
        ]
        for column, detail in wanted.items()
    }
    return {column: each for column, each in found.items() if each}


def _with_seeds(band: Band, kind: SeedDetail) -> Band:
    """The band with what is kept of its seeds' curves."""
    if kind == "none" or band.count < 2:
        return replace(band, seeds=[])
    if kind == "extremes":
        return band
    seeds = [replace(each, low=each.values, high=each.values) for each in band.seeds]
    return replace(band, seeds=seeds)


def column_titles(columns: Iterable[str]) -> dict[str, str]:
    """The title of each column, and of the figure of both losses if both are there."""
    found = {}
    for column in columns:
        found[column] = column_words(column)
        if column == "eval_loss" and "train_loss" in found:
            found[LOSSES] = "training and held-out loss"
    return found


def variant_costs(
    runs: Sequence[RunRecord], costs: Mapping[str, StepCosts]
) -> dict[str, VariantCosts]:
    """The cost of a step of each variant, by its label.

    Args:
        runs: The runs.
        costs: The cost of a step of each run, by run id.
    """
    groups: dict[str, list[RunRecord]] = {}
    for run, label in zip(runs, column_labels(runs), strict=True):
        groups.setdefault(label, []).append(run)
    return {
        label: _variant_costs(group, [costs[run.run] for run in group])
        for label, group in groups.items()
    }


def _variant_costs(runs: Sequence[RunRecord], found: Sequence[StepCosts]) -> VariantCosts:
    flops = [each.flops for each in found if each.flops is not None]
    return VariantCosts(
        tokens=_median(each.tokens for each in found),
        seconds=_median(each.seconds for each in found),
        flops=_median(each.flops for each in flops),
        formula=flops[0].formula if flops else "",
        of_seeds={
            run.seed: each.seconds
            for run, each in zip(runs, found, strict=True)
            if each.seconds is not None
        },
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
