"""The values of a measure by variant: every seed, and how many runs learnt or got there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import polars as pl

from ablab.experiments.inactive import labelled, nullable_keys
from ablab.experiments.measures import VALUES, parse_measure
from ablab.experiments.short_names import short_names
from ablab.read.directions import column_direction, measure_range
from ablab.read.effects.joint import as_one
from ablab.read.effects.results import gather
from ablab.read.guessing import guessing_loss
from ablab.read.measure_words import measure_words
from ablab.read.measures import is_step
from ablab.read.medians import median_of
from ablab.read.short_variants import is_affected, short_runs
from ablab.store.store import ExperimentRecord, RunRecord
from ablab.tasks.config import Direction

_AS_PLANNED = ("finished", "stopped")
_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic


@dataclass(frozen=True)
class VariantValues:
    """The values of one variant's runs.

    Attributes:
        name: What sets the variant apart.
        keys: Its keys and values.
        values: The values of the runs that have one.
        missed: For each run that did not reach the measured step, the last step that it was looked
            for.
        lost: The number of runs without either, by the reason.
        learnt: How many runs are in the better of two groups; None without two groups.
        few_steps: The number of steps, if far fewer than those of the other variants.
    """

    name: str
    keys: dict[str, Any]
    values: tuple[float, ...]
    missed: tuple[float, ...]
    lost: dict[str, int]
    learnt: tuple[float, ...] | None
    few_steps: int | None = None

    @property
    def runs(self) -> int:
        """The number of runs that ended with a value, or without having reached the step."""
        return len(self.values) + len(self.missed)

    @property
    def failed(self) -> int:
        """The number of runs without a value that diverged or failed."""
        return sum(self.lost.get(status, 0) for status in ("diverged", "failed"))

    @property
    def median(self) -> float | None:
        """The median; runs that did not reach the step count as later than all others.

        None if there is none, or if it is one of those. Of runs that learnt and runs that did not,
        it is the median of those that learnt, if there are any.
        """
        return median_of(self.learnt or self.values, len(self.missed))

    @property
    def count(self) -> tuple[int, int] | None:
        """How many runs learnt or reached the step, and of how many; None if neither applies."""
        if self.learnt is not None:
            return len(self.learnt), self.runs
        return (len(self.values), self.runs) if self.missed else None


@dataclass(frozen=True)
class MeasuredVariants:
    """A measure of all variants.

    Attributes:
        measure: The measure.
        words: The measure in words.
        better: Which values are better; None if it is not declared.
        steps: Whether it is a step, which a run may not have reached.
        cut: The value between the two groups of runs; None without two groups.
        variants: The variants, in the grid's order.
    """

    measure: str
    words: str
    better: Direction | None
    steps: bool
    cut: float | None
    variants: list[VariantValues]

    @cached_property  # an entry asks once for each variant
    def all_values(self) -> list[float]:
        """All values, those of the steps up to which a run was looked at included."""
        return [each for row in self.variants for each in (*row.values, *row.missed)]

    @property
    def nearest(self) -> tuple[float, float] | None:
        """The values next to the cut, below and above it; None without two groups."""
        if self.cut is None:
            return None
        known = [each for row in self.variants for each in row.values]
        below = max((each for each in known if each <= self.cut), default=None)
        above = min((each for each in known if each > self.cut), default=None)
        return None if below is None or above is None else (below, above)

    @cached_property
    def is_wide(self) -> bool:
        """Whether an axis of the values should be logarithmic."""
        known = self.all_values
        return bool(known) and min(known) > 0 and max(known) / min(known) > _WIDE_RANGE

    @property
    def has_missed(self) -> bool:
        """Whether some runs did not reach the measured step."""
        return any(row.missed for row in self.variants)

    @property
    def said(self) -> str:
        """What the counts count: ``reached``, ``learnt``, or the side of the cut."""
        if self.has_missed:
            return "reached"
        if self.better is None:
            return f"below {self.cut:.3g}"
        side = "higher" if self.better == "higher" else "lower"
        return "learnt" if parse_measure(self.measure).is_end else f"in the {side} group"

    def best(self) -> VariantValues | None:
        """The variant in which most runs learnt or got there, then with the best median.

        A run that diverged or failed counts as one that did not learn or get there.

        None if it is not declared which values are better, or if two variants are equally good.
        """
        if self.better is None:
            return None
        rows = sorted((row for row in self.variants if row.few_steps is None), key=self.rank)
        if len(rows) < 2 or rows[0].median is None or self.rank(rows[0]) == self.rank(rows[1]):
            return None
        return rows[0]

    def rank(self, row: VariantValues) -> tuple[float, float]:
        """A key that sorts better variants first."""
        done, total = row.count or (len(row.values), row.runs)
        share = done / max(1, total + row.failed)
        value = row.median
        if value is None:
            return -share, math.inf
        return -share, -value if self.better == "higher" else value


def variant_values(
    record: ExperimentRecord,
    measure: str,
    frame: pl.DataFrame,
    runs: Sequence[RunRecord] = (),
) -> MeasuredVariants:
    """The values of a measure by variant.

    Args:
        record: The experiment.
        measure: The measure.
        frame: Its value for each run, as :func:`ablab.read.measures.measure_table` gives it.
        runs: The runs, of which variants that were trained for far fewer steps are noted.
    """
    parsed = parse_measure(measure)
    short = short_runs(runs) if is_affected(parsed) else {}
    keys = list(record.definition["grid"])
    better: Direction | None = None
    if is_step(parsed):
        better = "lower"
    elif parsed.function in VALUES:
        better = parsed.direction or column_direction(record, parsed.column)
    has_groups = parsed.function in VALUES
    cut = _cut(record, measure, frame, keys, better) if has_groups else None
    rows = frame.to_dicts()
    groups = [list(each) for _, each in groupby(rows, lambda row: [row[key] for key in keys])]
    nullable = nullable_keys(record.definition["grid"])
    cells = [labelled({key: group[0][key] for key in keys}, nullable) for group in groups]
    variants = [
        replace(_variant(name, cell, group, cut, better), few_steps=short.get(group[0]["run"]))
        for name, cell, group in zip(short_names(cells), cells, groups, strict=True)
    ]
    words = measure_words(parsed)
    return MeasuredVariants(measure, words, better, is_step(parsed), cut, variants)


def _cut(
    record: ExperimentRecord,
    measure: str,
    frame: pl.DataFrame,
    keys: Sequence[str],
    better: Direction | None,
) -> float | None:
    """The value between runs that learnt and runs that did not; None without two groups."""
    if frame.is_empty():
        return None
    if not keys:  # one cell
        frame, keys = frame.with_columns(pl.lit("all").alias("variant")), ["variant"]
    if "cells" in record.definition:  # settings vary together; only whole cells matter here
        nullable = nullable_keys(record.definition["grid"])
        frame, keys = as_one(frame, keys, nullable), ["variant"]
    parsed = parse_measure(measure)
    guessing, limits = guessing_loss(record, parsed), measure_range(record, parsed)
    found = gather(frame, keys, measure=measure, better=better, guessing=guessing, limits=limits)
    if found.cut is None:
        return None
    return math.exp(found.cut) if found.scale == "ratio" else found.cut


def _variant(
    name: str,
    keys: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    cut: float | None,
    better: Direction | None,
) -> VariantValues:
    values = tuple(row["value"] for row in rows if row["value"] is not None)
    missed = tuple(float(row["not_before"]) for row in rows if row["not_before"] is not None)
    reasons = [
        (row["reason"] or "no value") if row["status"] in _AS_PLANNED else row["status"]
        for row in rows
        if row["value"] is None and row["not_before"] is None
    ]
    lost = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    learnt = None
    if cut is not None:
        learnt = tuple(each for each in values if (each > cut) == (better == "higher"))
    return VariantValues(name, keys, values, missed, lost, learnt)
