"""Settings that vary together, which no comparison can tell apart, as one setting."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ablab.experiments.inactive import labelled
from ablab.experiments.joint_keys import joint_keys
from ablab.experiments.short_names import short_keys, short_names
from ablab.experiments.variant import variant_label


@dataclass(frozen=True)
class Joint:
    """The runs of a grid whose settings vary independently.

    Attributes:
        frame: A row for each run, with a column for each of the keys.
        keys: The keys; settings that vary together are one key, whose values are names.
        points: For each key of several settings, the settings of each of its values, in order.
    """

    frame: pl.DataFrame
    keys: list[str]
    points: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def key_of(self, key: str) -> str:
        """The key to which a setting belongs, or the setting itself."""
        return next((name for name, rows in self.points.items() if key in rows[0]), key)

    def base(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The base values by key; those of settings that vary together if they are a point."""
        found = {key: value for key, value in values.items() if key in self.keys}
        for name, rows in self.points.items():
            labels = self.frame[name].unique(maintain_order=True).to_list()
            for label, row in zip(labels, rows, strict=True):
                if all(key in values and values[key] == value for key, value in row.items()):
                    found[name] = label
        return found


def join(
    frame: pl.DataFrame, keys: Sequence[str], nullable: Collection[str] | None = None
) -> Joint:
    """Makes one setting of settings that vary together.

    Args:
        frame: A row for each run of the grid, with a column for each key.
        keys: The keys.
        nullable: Those of which null is a value; of others, it means that they do not vary there.
            None if it can be a value of all.
    """
    cells = frame.select(keys).unique(maintain_order=True).to_dicts()
    short = short_keys(list(keys))
    found, points = [], {}
    for group in joint_keys(list(keys), cells):
        if len(group) == 1:
            found += group
            continue
        name = " + ".join(short[key] for key in group)
        plain = frame.select(group).unique(maintain_order=True).to_dicts()
        rows = [labelled(row, nullable) for row in plain]
        names = dict(zip(map(str, plain), short_names(rows), strict=True))
        column = [names[str(row)] for row in frame.select(group).iter_rows(named=True)]
        frame = frame.with_columns(pl.Series(name, column, dtype=pl.String))
        found.append(name)
        points[name] = rows
    return Joint(frame, found, points)


def as_one(
    frame: pl.DataFrame, keys: Sequence[str], nullable: Collection[str] | None = None
) -> pl.DataFrame:
    """The frame with a column ``variant``: all keys as one, where only whole cells matter."""
    rows = frame.select(keys).iter_rows(named=True)
    labels = [variant_label(labelled(row, nullable)) for row in rows]
    return frame.with_columns(pl.Series("variant", labels, dtype=pl.String))
