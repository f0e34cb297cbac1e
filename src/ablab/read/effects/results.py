"""Runs' results as one array over the grid and the seeds, which all of effects is computed from."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from ablab.config import InputError, Problem, nearest

Array = np.ndarray[Any, np.dtype[np.float64]]
Scale = Literal["difference", "ratio"]
Others = Literal["base", "all"]

RATIO_SPAN = 30.0
"""Positive values that span a larger factor are compared by ratios."""


@dataclass(frozen=True, eq=False)
class Results:
    """A measure of every run of a grid.

    Attributes:
        measure: What the values are, for sentences.
        levels: The grid's keys in order, each with its values in the grid's order.
        seeds: The seeds, in order.
        values: Axes: one for each key, then the seeds; NaN where a run has no value.
        runs: How many runs there are.
        base: Each key's base value: what others are compared with.
        first: The keys whose base value is only the first of their values.
        scale: Whether differences or ratios are taken.
    """

    measure: str
    levels: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    values: Array
    runs: int
    base: dict[str, Any]
    first: tuple[str, ...]
    scale: Scale

    @property
    def missing(self) -> int:
        """How many runs have no value (diverged, not finished, or the measure never came about)."""
        return self.runs - int(np.isfinite(self.values).sum())

    @property
    def scaled(self) -> Array:
        """The values, or on the scale of ratios their logarithms."""
        return np.log(self.values) if self.scale == "ratio" else self.values

    def check_key(self, key: str) -> str:
        """The key, if it is one of the grid's.

        Raises:
            InputError: It is not; the nearest that is one is named.
        """
        if key not in self.levels:
            raise InputError(
                Problem(
                    f"{key} is not an axis of the grid",
                    key,
                    expected="one of " + ", ".join(self.levels),
                    suggestion=nearest(key, self.levels),
                )
            )
        return key

    def place(self, key: str, value: Any) -> int:
        """Where a value stands among its key's."""
        return self.levels[key].index(value)

    def by(self, keys: Sequence[str], others: Others, values: Array | None = None) -> Array:
        """The scaled values with chosen keys first: (levels of each key …, cells, seeds).

        Args:
            keys: The keys that keep an axis, in this order.
            others: ``base`` holds all other keys at their base value, which leaves one cell;
                ``all`` makes a cell of each combination of theirs.
            values: Other values in the place of the scaled ones.
        """
        names = list(self.levels)
        values = self.scaled if values is None else values
        rest = [name for name in names if name not in keys]
        values = np.moveaxis(values, [names.index(key) for key in keys], range(len(keys)))
        if others == "base":
            values = values[
                (
                    *(slice(None) for _ in keys),
                    *(
                        slice(self.place(n, self.base[n]), self.place(n, self.base[n]) + 1)
                        for n in rest
                    ),
                )
            ]
        return values.reshape(*values.shape[: len(keys)], -1, len(self.seeds))


def gather(
    frame: pl.DataFrame,
    keys: Sequence[str],
    base: Mapping[str, Any] | None = None,
    scale: Literal["auto", "difference", "ratio"] = "auto",
    measure: str = "value",
) -> Results:
    """The results of a grid's runs.

    Args:
        frame: A row for each run: the keys, ``seed`` and ``value``; a value that is null, NaN or
            infinite is none.
        keys: The grid's keys, at least one.
        base: Each key's base value; the first one where it is not given or not among the values.
        scale: What to compare by; ``auto`` takes ratios of positive values that span more than a
            factor of 30, else differences.
        measure: What the values are, for sentences.

    Raises:
        InputError: There is no grid, a run stands twice, or ratios are asked of values that are not
            positive.
    """
    if not keys:
        raise InputError(
            Problem("there is nothing to compare: the experiment has no grid", expected="an axis")
        )
    levels = {key: tuple(frame[key].unique(maintain_order=True).to_list()) for key in keys}
    seeds = tuple(sorted(frame["seed"].unique().to_list()))
    places: list[dict[Hashable, int]] = [
        {value: place for place, value in enumerate(each)} for each in (*levels.values(), seeds)
    ]
    values = np.full([*(len(levels[key]) for key in keys), len(seeds)], np.nan)
    seen = set()
    for *cell, seed, value in frame.select([*keys, "seed", "value"]).iter_rows():
        where = tuple(place[each] for place, each in zip(places, [*cell, seed], strict=True))
        if where in seen:
            raise InputError(
                f"two rows are the run of {dict(zip(keys, cell, strict=True))}, {seed}"
            )
        seen.add(where)
        if value is not None and math.isfinite(value):
            values[where] = value
    given = {key: value for key, value in (base or {}).items() if value in levels.get(key, ())}
    return Results(
        measure,
        levels,
        seeds,
        values,
        len(seen),
        {key: given.get(key, levels[key][0]) for key in keys},
        tuple(key for key in keys if key not in given),
        _scale(values[np.isfinite(values)], scale, measure),
    )


def _scale(values: Array, asked: str, measure: str) -> Scale:
    positive = bool(values.size) and bool(values.min() > 0)
    if asked == "ratio":
        if values.size and not positive:
            raise InputError(
                Problem(
                    f"there are no ratios of {measure}, whose values are not all positive",
                    "scale",
                    given=float(values.min()),
                    expected="the scale 'difference'",
                )
            )
        return "ratio"
    if asked == "difference":
        return "difference"
    if asked != "auto":
        raise InputError(
            Problem(
                f"{asked!r} is not a scale",
                "scale",
                expected="auto, difference or ratio",
                suggestion=nearest(asked, ["auto", "difference", "ratio"]),
            )
        )
    return "ratio" if positive and values.max() / values.min() > RATIO_SPAN else "difference"
