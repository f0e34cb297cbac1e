"""Statistics by layer: columns that differ only in the block's number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_LAYER = re.compile(r"\bblocks\.(\d+)\.")
_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic
POINTS = 400
"""The maximum number of points of a curve."""


@dataclass(frozen=True)
class LayerGroup:
    """A statistic over several layers.

    Attributes:
        name: Its name, with ``blocks.*`` in place of the number of the block, if it has one.
        columns: The columns by number of the block, in order; 0 if it has none.
    """

    name: str
    columns: dict[int, str]


def layer_groups(columns: Sequence[str]) -> list[LayerGroup]:
    """Groups columns that differ only in the block's number."""
    groups: dict[str, dict[int, str]] = {}
    for column in columns:
        found = _LAYER.search(column)
        name = _LAYER.sub("blocks.*.", column)
        groups.setdefault(name, {})[int(found.group(1)) if found else 0] = column
    return [LayerGroup(name, dict(sorted(found.items()))) for name, found in groups.items()]


def layer_table(
    frame: pl.DataFrame, group: LayerGroup
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps at which any column was logged, (n,), and the values, (layers, n)."""
    columns = list(group.columns.values())
    rows = frame.select("step", *columns).filter(
        pl.any_horizontal(pl.col(name).is_not_null() for name in columns)
    )
    rows = rows.group_by("step").agg(pl.col(columns).mean()).sort("step")
    if rows.height > POINTS:  # neighbouring steps share a point
        size = -(-rows.height // POINTS)
        rows = (
            rows.with_row_index("_at")
            .group_by(pl.col("_at") // size, maintain_order=True)
            .agg(pl.col("step").last(), pl.col(columns).mean())
        )
    table = rows.select(columns).to_numpy().astype(np.float64).T
    return rows["step"].to_numpy().astype(np.float64), np.where(np.isfinite(table), table, np.nan)


def is_wide_range(table: NDArray[np.float64]) -> bool:
    """Whether values span so wide a range that their axis should be logarithmic."""
    known = table[np.isfinite(table)]
    return bool(len(known)) and known.min() > 0 and known.max() / known.min() > _WIDE_RANGE


def spaced(items: list[int], most: int) -> list[int]:
    """At most ``most`` of the items, evenly spaced, including the first and the last."""
    if len(items) <= most:
        return items
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
