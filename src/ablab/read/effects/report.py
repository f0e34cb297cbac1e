"""All that a grid's results say of its settings, together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from ablab.config import InputError, Problem
from ablab.read.effects.cells import Cell, cell_means
from ablab.read.effects.compare import Against, Comparison, differences
from ablab.read.effects.interactions import Interaction, interactions
from ablab.read.effects.results import Results, Scale, gather
from ablab.read.effects.scaling import Scaling, is_numeric, scaling
from ablab.read.effects.sentences import (
    comparison_sentence,
    interaction_sentence,
    scaling_sentence,
)


@dataclass(frozen=True)
class Effects:
    """The effects of a grid's settings on a measure.

    Attributes:
        measure: What was measured.
        scale: Whether differences or ratios are given.
        of: The settings that are compared; each table of them is a family of its own for Holm.
        base: Each key's base value.
        first: The keys whose base value is the first one, for want of the configuration's.
        seeds: How many seeds the runs have.
        runs: How many runs there are.
        missing: How many of them have no value.
        margin: The margin that was stated, if one was.
        marginal: Comparisons with all other settings at their base values.
        factorial: Comparisons averaged over all cells of the other settings.
        interactions: Each pair of settings.
        scalings: The relation to each numeric setting of three values or more, of a measure that
            is positive.
        cells: The mean of each cell.
    """

    measure: str
    scale: Scale
    of: tuple[str, ...]
    base: dict[str, Any]
    first: tuple[str, ...]
    seeds: int
    runs: int
    missing: int
    margin: float | None
    marginal: tuple[Comparison, ...]
    factorial: tuple[Comparison, ...]
    interactions: tuple[Interaction, ...]
    scalings: tuple[Scaling, ...]
    cells: tuple[Cell, ...]

    def as_data(self) -> dict[str, Any]:
        """The effects as plain data."""
        tables = ("marginal", "factorial", "interactions", "scalings", "cells")
        return dict(vars(self)) | {
            "of": list(self.of),
            "first": list(self.first),
            **{name: [each.as_data() for each in getattr(self, name)] for name in tables},
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """What was found, a sentence each: comparisons over all cells, interactions, relations."""
        return [
            *(comparison_sentence(each, self.measure) for each in self.factorial),
            *(interaction_sentence(each, self.measure) for each in self.interactions),
            *(scaling_sentence(each) for each in self.scalings),
        ]


def effects(
    frame: pl.DataFrame,
    keys: Sequence[str],
    of: str | None = None,
    base: Mapping[str, Any] | None = None,
    scale: Literal["auto", "difference", "ratio"] = "auto",
    margin: float | None = None,
    measure: str = "value",
    against: Against = "base",
) -> Effects:
    """The effects of a grid's settings.

    Args:
        frame: A row for each run: the keys, ``seed`` and ``value`` (null where there is none).
        keys: The grid's keys.
        of: The setting that is asked about; all by default.
        base: The base configuration's values.
        scale: Differences, ratios, or ratios where positive values span a factor above 30.
        margin: What difference is too small to matter, stated before looking.
        measure: The measure's name, for sentences.
        against: Compare with the base value, or each value with each.

    Raises:
        InputError: There is no grid, ``of`` is no axis, or scale or margin cannot be used.
    """
    results = gather(frame, keys, base, scale, measure)
    if margin is not None and scale == "auto" and results.scale == "ratio":
        raise InputError(
            Problem(
                f"{measure} spans a factor above 30, so ratios are compared, and a margin would be "
                "a factor",
                "margin",
                given=margin,
                expected="a margin with the scale said: 'ratio' (a factor) or 'difference'",
            )
        )
    chosen = tuple(results.levels) if of is None else (results.check_key(of),)
    return Effects(
        measure=measure,
        scale=results.scale,
        of=chosen,
        base=results.base,
        first=results.first,
        seeds=len(results.seeds),
        runs=results.runs,
        missing=results.missing,
        margin=margin,
        marginal=differences(results, chosen, "base", against, margin),
        factorial=differences(results, chosen, "all", against, margin),
        interactions=interactions(results, of),
        scalings=tuple(scaling(results, key) for key in chosen if _scales(results, key)),
        cells=cell_means(results),
    )


def _scales(results: Results, key: str) -> bool:
    values = results.values[np.isfinite(results.values)]
    three = len(results.levels[key]) > 2  # any line fits two
    return three and is_numeric(results, key) and bool(values.size) and bool(values.min() > 0)
