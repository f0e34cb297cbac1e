"""Curves of each variant: the mean over its seeds, and the range as a band."""

import json
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
        label: The variant in a line.
        steps: The steps; where several are one point, the last of them.
        mean: The mean over seeds (and over the point's steps).
        low: The lowest seed.
        high: The highest seed.
        restarts: The steps after which a seed's run went back to an earlier state.
    """

    keys: dict[str, Any]
    label: str
    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    restarts: list[int]


def bands(metrics: pl.DataFrame, keys: list[str], column: str) -> list[Band]:
    """The bands of a column, a variant each, in the frame's order, as far as all its seeds go.

    Long curves are thinned: neighbouring steps share a point, which is their mean for each seed.

    Args:
        metrics: A row for each run and step, with the variant's keys and ``seed``.
        keys: The variant's keys.
        column: The column to draw.
    """
    if "restart" not in metrics.columns:
        metrics = metrics.with_columns(pl.lit(None, pl.Int64).alias("restart"))
    frame = metrics.select([*keys, "seed", "step", column, "restart"])
    went_back = frame.filter(pl.col("restart").is_not_null())
    frame = frame.drop_nulls(column)
    frame = frame.filter(pl.col(column).is_finite())
    if frame.is_empty():
        return []
    variant = pl.struct(keys).struct.json_encode() if keys else pl.lit("{}")
    frame = frame.with_columns(variant.alias("_variant"))
    went_back = went_back.with_columns(variant.alias("_variant"))
    result = []
    for name in frame["_variant"].unique(maintain_order=True):
        mine = frame.filter(pl.col("_variant") == name)
        width = max(1, -(-mine["step"].n_unique() // MAX_POINTS))
        spacing = _spacing(mine)
        points = (
            mine.with_columns(
                ((pl.col("step") + (width - 1) * spacing) // (width * spacing)).alias("_point")
            )
            .group_by("_point", "seed")
            .agg(pl.col("step").max(), pl.col(column).mean())
            .group_by("_point")
            .agg(
                pl.col("step").max(),
                pl.col(column).mean().alias("mean"),
                pl.col(column).min().alias("low"),
                pl.col(column).max().alias("high"),
                pl.len().alias("_seeds"),
            )
            # A curve ends with its first seed: the mean of those that are left would jump.
            .filter(pl.col("_seeds") == mine["seed"].n_unique())
            .sort("_point")
        )
        values = json.loads(name)
        label = variant_label(values)
        result.append(
            Band(
                values,
                label,
                points["step"].to_list(),
                points["mean"].to_list(),
                points["low"].to_list(),
                points["high"].to_list(),
                went_back.filter(pl.col("_variant") == name)["step"].unique().sort().to_list(),
            )
        )
    return result


def _spacing(frame: pl.DataFrame) -> int:
    """The usual distance between two logged steps."""
    steps = frame["step"].unique().sort()
    usual = steps.diff().drop_nulls().mode()
    return int(usual[0]) if len(usual) else 1
