"""The curves of each variant: one for each seed, their median, and their range."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from ablab.experiments.experiment import variant_label
from ablab.experiments.inactive import labelled
from ablab.tasks.config import Direction

MAX_POINTS = 400


@dataclass(frozen=True)
class SeedCurve:
    """The curve of one seed, up to its own last finite value.

    Attributes:
        seed: The seed.
        steps: The step of each point. A point that covers several steps has the last of them.
        values: The mean over the point's steps.
        low: The lowest value of the point's steps.
        high: The highest value of the point's steps, so that a spike of a single step is visible
            on a curve of any length.
    """

    seed: int
    steps: list[int]
    values: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Band:
    """One variant's curves of one column.

    Attributes:
        keys: The variant's keys and values.
        label: The variant as one line of text.
        steps: The step of each point, up to the last step that every seed reached.
        values: The median over seeds of a point's values. Of an even number of seeds, it is the
            less favourable of the two in the middle, since their mean may be far from both.
        low: The lowest value of any seed (and of any of the point's steps).
        high: The highest value of any seed and step.
        restarts: The steps after which a run was restarted from an earlier state.
        seeds: The curve of each seed, in the order of the frame.
        count: The number of seeds.
    """

    keys: dict[str, Any]
    label: str
    steps: list[int]
    values: list[float]
    low: list[float]
    high: list[float]
    restarts: list[int]
    seeds: list[SeedCurve] = field(default_factory=list)
    count: int = 1


def bands(
    metrics: pl.DataFrame,
    keys: list[str],
    column: str,
    points: int = MAX_POINTS,
    direction: Direction | None = None,
    nullable: Collection[str] | None = None,
) -> list[Band]:
    """The curves of each variant for a column, in the order of the frame.

    The median ends at the last step that every seed of the variant reached: the median of the
    remaining seeds would jump. Long curves are thinned: neighbouring steps share a point, which
    has their mean, minimum and maximum.

    Args:
        metrics: A row for each run and step, with the variant's keys and ``seed``.
        keys: The variant's keys.
        column: The column to draw.
        points: The maximum number of points of a curve.
        direction: Which values of the column are better; lower ones, if it is not known.
        nullable: The keys of which null is a value; of others, it means that they do not vary. None
            if it can be a value of all.
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
    thinned = _thinned(frame, column, points)
    middle: Literal["lower", "higher"] = "lower" if direction == "higher" else "higher"
    lines = {number: found for (number,), found in _parts(_medians(thinned, middle))}
    of_seeds = {number: found for (number,), found in _parts(thinned)}
    result = []
    for number, row in enumerate(variants.iter_rows(named=True) if keys else [{}]):
        cell = labelled(row, nullable)
        found = lines.get(number)
        if found is not None:
            seeds = [
                SeedCurve(seed, *_lists(mine))
                for (seed,), mine in of_seeds[number]
                .partition_by("seed", as_dict=True, maintain_order=True)
                .items()
            ]
            steps, values, low, high = _lists(found)
            label, restarts = variant_label(cell), went_back.get(number, [])
            result.append(Band(cell, label, steps, values, low, high, restarts, seeds, len(seeds)))
    return result


def _lists(points: pl.DataFrame) -> tuple[Any, ...]:
    """The steps, values, lowest and highest values of a curve's points."""
    return tuple(points[name].to_list() for name in ("step", "values", "low", "high"))


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
    """The points of every seed's curve, by variant, in the order of the frame.

    The points of a variant's seeds cover the same steps.
    """
    # The most common distance between two logged steps, and the number of steps per point.
    steps = frame.select("_variant", "step").unique().sort("_variant", "step")
    widths = steps.group_by("_variant").agg(
        pl.col("step").diff().drop_nulls().mode().min().fill_null(1).alias("_spacing"),
        pl.max_horizontal(1, (pl.len() + points - 1) // points).cast(pl.Int64).alias("_width"),
    )
    width, spacing = pl.col("_width"), pl.col("_spacing")
    point = (pl.col("step") + (width - 1) * spacing) // (width * spacing)
    return (
        frame.join(widths, on="_variant", maintain_order="left")
        .with_columns(point.alias("_point"))
        .group_by("_variant", "seed", "_point", maintain_order=True)
        .agg(
            pl.col("step").max(),
            pl.col(column).mean().alias("values"),
            pl.col(column).min().alias("low"),
            pl.col(column).max().alias("high"),
        )
    )


def _medians(thinned: pl.DataFrame, middle: Literal["lower", "higher"]) -> pl.DataFrame:
    """The points of every variant's median over seeds, by variant and step."""
    seeds = thinned.group_by("_variant").agg(pl.col("seed").n_unique().alias("_all"))
    return (
        thinned.group_by("_variant", "_point")
        .agg(
            pl.col("step").max(),
            pl.col("values").quantile(0.5, middle),
            pl.col("low").min(),
            pl.col("high").max(),
            pl.len().alias("_seeds"),
        )
        .join(seeds, on="_variant")
        .filter(pl.col("_seeds") == pl.col("_all"))
        .sort("_variant", "_point")
    )
