"""The curve of each variant: the mean over its seeds, with the range as a band."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ablab.experiments.experiment import variant_label

MAX_POINTS = 400


@dataclass(frozen=True)
class Band:
    """One variant's curve of one column.

    Attributes:
        keys: The variant's keys and values.
        label: The variant as one line of text.
        steps: The step of each point. A point that covers several steps has the last of them.
        mean: The mean over seeds (and over the point's steps).
        low: The lowest value of any seed (and of any of the point's steps).
        high: The highest value of any seed and step, so that a spike of a single step is visible
            on a curve of any length.
        restarts: The steps after which a run was restarted from an earlier state.
    """

    keys: dict[str, Any]
    label: str
    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    restarts: list[int]


def bands(
    metrics: pl.DataFrame, keys: list[str], column: str, points: int = MAX_POINTS
) -> list[Band]:
    """The band of each variant for a column, in the order of the frame.

    A band ends at the last step that every seed of the variant reached. Long curves are thinned:
    neighbouring steps share a point, which has their mean, minimum and maximum.

    Args:
        metrics: A row for each run and step, with the variant's keys and ``seed``.
        keys: The variant's keys.
        column: The column to draw.
        points: The maximum number of points of a curve.
    """
    variants = _variants(metrics, keys)
    numbered = variants.with_row_index("_variant") if keys else None
    there = pl.col(column).is_not_null() & pl.col(column).is_finite()
    frame = _of_variants(metrics.filter(there).select([*keys, "seed", "step", column]), numbered)
    went_back: dict[Any, list[int]] = {}
    if "restart" in metrics.columns:
        rows = metrics.filter(pl.col("restart").is_not_null()).select([*keys, "step"])
        for (number,), mine in _parts(_of_variants(rows, numbered)):
            went_back[number] = mine["step"].unique().sort().to_list()
    thin = {number: found for (number,), found in _parts(_thinned(frame, column, points))}
    result = []
    for number, cell in enumerate(variants.iter_rows(named=True) if keys else [{}]):
        found = thin.get(number)
        if found is not None:
            steps, mean, low, high = (
                found[name].to_list() for name in ("step", "mean", "low", "high")
            )
            label = variant_label(cell)
            result.append(Band(cell, label, steps, mean, low, high, went_back.get(number, [])))
    return result


def _variants(metrics: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The variants in the order of the frame. Rows of a variant are adjacent, so this is fast."""
    if not keys:
        return pl.DataFrame()
    changes = [pl.col(key).ne_missing(pl.col(key).shift()) for key in keys]
    first = pl.int_range(pl.len()) == 0
    found = metrics.lazy().select(keys).filter(first | pl.any_horizontal(changes)).collect()
    return found.unique(maintain_order=True)


def _of_variants(frame: pl.DataFrame, numbered: pl.DataFrame | None) -> pl.DataFrame:
    """The frame with the variant's number in each row instead of its keys."""
    if numbered is None:
        return frame.with_columns(pl.lit(0, pl.UInt32).alias("_variant"))
    keys = numbered.columns[1:]
    return frame.join(numbered, on=keys, how="left", nulls_equal=True).drop(keys)


def _parts(frame: pl.DataFrame) -> Iterable[tuple[tuple[Any, ...], pl.DataFrame]]:
    return frame.partition_by("_variant", as_dict=True, maintain_order=True).items()


def _thinned(frame: pl.DataFrame, column: str, points: int) -> pl.DataFrame:
    """The points of every variant's curve, by variant and step."""
    # The most common distance between two logged steps, and the number of steps per point.
    steps = frame.select("_variant", "step").unique().sort("_variant", "step")
    widths = steps.group_by("_variant").agg(
        pl.col("step").diff().drop_nulls().mode().min().fill_null(1).alias("_spacing"),
        pl.max_horizontal(1, (pl.len() + points - 1) // points).cast(pl.Int64).alias("_width"),
    )
    seeds = frame.group_by("_variant").agg(pl.col("seed").n_unique().alias("_all"))
    width, spacing = pl.col("_width"), pl.col("_spacing")
    point = (pl.col("step") + (width - 1) * spacing) // (width * spacing)
    return (
        frame.join(widths, on="_variant")
        .with_columns(point.alias("_point"))
        .group_by("_variant", "_point", "seed")
        .agg(
            pl.col("step").max(),
            pl.col(column).mean().alias("mean"),
            pl.col(column).min().alias("low"),
            pl.col(column).max().alias("high"),
        )
        .group_by("_variant", "_point")
        .agg(
            pl.col("step").max(),
            pl.col("mean").mean(),
            pl.col("low").min(),
            pl.col("high").max(),
            pl.len().alias("_seeds"),
        )
        # A curve ends when its first seed ends: the mean of the remaining seeds would jump.
        .join(seeds, on="_variant")
        .filter(pl.col("_seeds") == pl.col("_all"))
        .sort("_variant", "_point")
    )
