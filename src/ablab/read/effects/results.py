"""The results of runs as one array over grid and seeds, from which all effects are computed."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from ablab.config import InputError, Problem, nearest
from ablab.experiments.measures import is_count, is_of_steps
from ablab.read.statistics.groups import LEAST_GAP, guessing_cut, notice_cut
from ablab.read.statistics.levels import pair_by_seed, spread
from ablab.read.statistics.ranks import Arrivals
from ablab.read.statistics.scales import SKEWED, Range
from ablab.read.statistics.survival import common_horizon

Array = np.ndarray[Any, np.dtype[np.float64]]
Scale = Literal["difference", "ratio"]
Others = Literal["base", "all"]
_FEW_STEPS = 3  # so few different steps are those of evaluations, not of groups

RATIO_SPAN = 30.0
"""Positive values that span a larger factor are compared as ratios; so are skewed ones."""

Better = Literal["lower", "higher"]


@dataclass(frozen=True, eq=False)
class Results:
    """A measure of every run of a grid.

    Attributes:
        measure: The name of the measure, for sentences.
        levels: The values of each key, in the grid's order.
        seeds: The seeds, in ascending order.
        values: The values, with one axis per key, then one for the seeds; NaN if a run has none.
            A step that was not reached counts as the horizon, and so does a later one.
        runs: The number of runs.
        base: The base value of each key, with which others are compared.
        first: The keys for which the base value is the first value of the axis.
        scale: Whether to compare by differences or ratios.
        horizon: The last step up to which all runs were looked at, except those that diverged, if
            some did not reach the measured step; else None.
        reached: Whether each run reached the measured step by the horizon; None without a horizon.
        failed: Whether each run diverged or failed; None if it is not known.
        better: Whether a lower or a higher value is better; None if it is not declared.
        guessing: The declared loss of guessing, if the measure is a value of a loss; else None.
        unsuited: Whether differences were asked for of values that are skewed.
        arrivals: The steps of all runs as they were measured; None without a horizon.
        limits: The declared range of the measure; None if it was not declared.
    """

    measure: str
    levels: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    values: Array
    runs: int
    base: dict[str, Any]
    first: tuple[str, ...]
    scale: Scale
    horizon: float | None = None
    reached: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    failed: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    better: Better | None = field(default=None)
    guessing: float | None = None
    unsuited: bool = False
    arrivals: Arrivals | None = None
    limits: Range | None = None

    @property
    def two_ended(self) -> Range | None:
        """The range of the scaled values if it has two ends, so that differences stay in it."""
        known = self.declared
        if known is None or self.scale == "ratio" or not np.isfinite(known).all():
            return None
        return known

    @property
    def declared(self) -> Range | None:
        """The declared range, if the values are in it."""
        if self.limits is None:
            return None
        known = self.values[np.isfinite(self.values)]
        inside = ((self.limits[0] <= known) & (known <= self.limits[1])).all()
        return self.limits if inside else None

    @cached_property
    def cut(self) -> float | None:
        """The cut between two groups of scaled values, such as runs that learnt and the others."""
        if self.guessing is not None and self.reached is None:
            known = guessing_cut(self.values, self.guessing)
            if math.isfinite(known):
                return math.log(known) if self.scale == "ratio" else known
        if (is_of_steps(self.measure) or is_count(self.measure)) and len(
            np.unique(self.values[np.isfinite(self.values)])
        ) <= _FEW_STEPS:
            return None  # steps of sparse evaluations, and counts, are equal without being alike
        found = float(notice_cut(self.scaled.reshape(-1, len(self.seeds)), self._least_gap))
        return found if math.isfinite(found) else None

    @property
    def _least_gap(self) -> float:
        """The least gap of two groups: values near one end of a range are skewed, not apart."""
        ends = self.two_ended
        return 0.0 if ends is None else LEAST_GAP * (ends[1] - ends[0])

    @cached_property
    def one_group(self) -> Array:
        """The scaled values of runs of one group: those that learnt, else of the larger group."""
        if self.cut is None:
            return self.scaled
        if self.reached is not None:
            return np.where(self.reached, self.scaled, np.nan)
        above = self.scaled > self.cut
        lower = self.better == "lower"
        if self.better is None:
            lower = above.sum() * 2 < np.isfinite(self.scaled).sum()
        return np.where(above != lower, self.scaled, np.nan)

    @cached_property
    def paired(self) -> bool:
        """Whether to pair runs by seed, because the seeds differ over all cells."""
        return pair_by_seed(self.one_group.reshape(-1, len(self.seeds)))

    @property
    def missing(self) -> int:
        """The number of runs without a value (diverged, not finished, or nothing to measure)."""
        return self.runs - int(np.isfinite(self.values).sum())

    @property
    def scaled(self) -> Array:
        """The values; on the ratio scale, their logarithms."""
        return np.log(self.values) if self.scale == "ratio" else self.values

    def check_key(self, key: str) -> str:
        """Returns the key if it is an axis of the grid.

        Raises:
            InputError: It is not; the error suggests the nearest key.
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
        """The index of a value among the values of its key."""
        return self.levels[key].index(value)

    def arrivals_by(self, keys: Sequence[str], others: Others) -> Arrivals | None:
        """The steps of all runs with selected keys first, as :meth:`by` gives values."""
        if self.arrivals is None:
            return None
        found = self.arrivals
        values, bounds = (self.by(keys, others, each) for each in (found.values, found.not_before))
        never, cut_off = (
            self.by(keys, others, each.astype(np.float64)) > 0 for each in (found.never, found.open)
        )
        return Arrivals(values, bounds, never, cut_off)

    def by(self, keys: Sequence[str], others: Others, values: Array | None = None) -> Array:
        """The scaled values with selected keys first: (levels of each key …, cells, seeds).

        Args:
            keys: The keys that keep their own axis, in this order.
            others: ``base`` fixes all other keys at their base value, which leaves one cell;
                ``all`` makes a cell of each combination of their values.
            values: Values to use instead of the scaled ones.
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
    better: Better | None = None,
    guessing: float | None = None,
    limits: Range | None = None,
) -> Results:
    """Collects the results of a grid's runs.

    Args:
        frame: A row for each run: the keys, ``seed`` and ``value``. A value that is null, NaN or
            infinite is missing. Optionally ``not_before`` (the step before which the measured step
            was not reached), ``reason`` (why there is no value) and ``status`` (what ended it).
        keys: The grid's keys, at least one.
        base: The base value of each key; by default, or if it is not on the axis, the first value.
        scale: ``difference``, ``ratio``, or ``auto``: ratios if the values are positive and span
            more than a factor of 30, or are skewed within cells.
        measure: The name of the measure, for sentences.
        better: Whether a lower or a higher value is better, if declared.
        guessing: The loss of guessing, if declared and the measure is a value of a loss: runs that
            are still there did not learn.
        limits: The range of the measure, if declared. Values of a range with two ends, of which one
            is above the middle, are compared by differences.

    Raises:
        InputError: There is no grid, a run occurs twice, the scale is unknown, or ratios are
            requested for values that are not positive.
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
    shape = [*(len(levels[key]) for key in keys), len(seeds)]
    values, bounds = np.full(shape, np.nan), np.full(shape, np.nan)
    failed, never, cut_off = (np.zeros(shape, dtype=bool) for _ in range(3))
    extra = [
        frame[name].to_list() if name in frame.columns else [None] * frame.height
        for name in ("not_before", "reason", "status")
    ]
    seen = set()
    rows = frame.select([*keys, "seed", "value"]).iter_rows()
    for (*cell, seed, value), bound, reason, status in zip(rows, *extra, strict=True):
        where = tuple(place[each] for place, each in zip(places, [*cell, seed], strict=True))
        if where in seen:
            raise InputError(
                f"two rows belong to one run: {dict(zip(keys, cell, strict=True))}, seed {seed}"
            )
        seen.add(where)
        if value is not None and math.isfinite(value):
            values[where] = value
        elif bound is not None:
            bounds[where] = bound
            never[where] = status == "diverged"
            cut_off[where] = status in ("stopped", "failed")
        else:
            ended = str(reason if status is None else status)
            failed[where] = ended.startswith(("diverged", "failed"))
    runs = RunValues(levels, seeds, values, bounds, failed, len(seen), never, cut_off)
    return collect(runs, base, scale, measure, better, guessing, limits)


@dataclass(frozen=True, eq=False)
class RunValues:
    """A measure of every run of a grid, as arrays with one axis per key, then one for the seeds.

    Attributes:
        levels: The values of each key, in the grid's order.
        seeds: The seeds, in ascending order.
        values: The values; NaN if a run has none.
        bounds: The step before which the measured step was not reached; NaN if there is none.
        failed: Whether each run diverged or failed, and so has no value.
        runs: The number of runs.
        never: Whether each run with a bound diverged; None if none did.
        open: Whether each run with a bound was ended by a stop rule or an error; None if none was.
    """

    levels: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    values: Array
    bounds: Array
    failed: np.ndarray[Any, np.dtype[np.bool_]]
    runs: int
    never: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    open: np.ndarray[Any, np.dtype[np.bool_]] | None = None


def collect(
    runs: RunValues,
    base: Mapping[str, Any] | None = None,
    scale: Literal["auto", "difference", "ratio"] = "auto",
    measure: str = "value",
    better: Better | None = None,
    guessing: float | None = None,
    limits: Range | None = None,
) -> Results:
    """The results of a grid's runs, from arrays; see :func:`gather`, which takes a frame."""
    values, bounds, levels = runs.values, runs.bounds, runs.levels
    horizon, reached, arrivals = None, None, None
    if np.isfinite(bounds).any():
        none = np.zeros(values.shape, dtype=bool)
        arrivals = Arrivals(
            values, bounds, *(none if each is None else each for each in (runs.never, runs.open))
        )
        # Up to here, every run was looked at, whatever ended it later. One that diverged never
        # gets there, so it is known at every step.
        horizon = common_horizon(np.where(arrivals.never, np.nan, bounds))
        horizon = horizon if math.isfinite(horizon) else arrivals.horizon
        reached = np.isfinite(values) & (values <= horizon)
        values = np.where(np.isfinite(bounds), horizon, np.minimum(values, horizon))
    given = {key: value for key, value in (base or {}).items() if value in levels.get(key, ())}
    return Results(
        measure,
        levels,
        runs.seeds,
        values,
        runs.runs,
        {key: given.get(key, levels[key][0]) for key in levels},
        tuple(key for key in levels if key not in given),
        _scale(values, scale, measure, limits),
        horizon,
        reached,
        runs.failed,
        better,
        guessing,
        _unsuited(values, scale, limits),
        arrivals,
        limits,
    )


def _scale(table: Array, asked: str, measure: str, limits: Range | None) -> Scale:
    """The scale, of values with the seeds on the last axis."""
    values = table[np.isfinite(table)]
    positive = _positive(table)
    if asked == "ratio":
        if values.size and not positive:
            raise InputError(
                Problem(
                    f"{measure} has no ratios, because its values are not all positive",
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
    two_ends = limits is not None and bool(np.isfinite(limits).all())
    if not positive or (limits is not None and two_ends and values.max() > sum(limits) / 2):
        return "difference"
    return "ratio" if values.max() / values.min() > RATIO_SPAN or skewed(table) else "difference"


def _unsuited(values: Array, asked: str, limits: Range | None) -> bool:
    """Whether differences were asked for of skewed values, for which they have no interval."""
    two_ends = limits is not None and bool(np.isfinite(limits).all())
    return asked == "difference" and not two_ends and _positive(values) and skewed(values)


def _positive(table: Array) -> bool:
    """Whether there are values, and all are positive."""
    values = table[np.isfinite(table)]
    return bool(values.size) and bool(values.min() > 0)


def skewed(table: Array) -> bool:
    """Whether positive values deviate so much within cells that their means are skewed.

    Args:
        table: The values, with the seeds on the last axis and NaN for missing ones.
    """
    cells = table.reshape(-1, table.shape[-1])
    cut = float(notice_cut(cells))
    if math.isfinite(cut):  # two groups; the spread within them counts
        cells = np.concatenate(
            [np.where(cells > cut, cells, np.nan), np.where(cells < cut, cells, np.nan)]
        )
    return bool(spread(np.log(cells)) > SKEWED)
