"""All effects of a grid's settings together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from ablab.config import InputError, Problem, counted
from ablab.config.shown import Displayed, Shown
from ablab.experiments.short_names import short_keys
from ablab.read.effects.best_values import BestValues, best_values, best_values_sentence
from ablab.read.effects.cells import Cell, cell_means
from ablab.read.effects.compare import Against, Comparison, differences
from ablab.read.effects.inference import ALPHA
from ablab.read.effects.interactions import Interaction, interactions
from ablab.read.effects.results import Array, Better, Results, Scale, gather
from ablab.read.effects.robust import Robust, robust
from ablab.read.effects.scaling import Scaling, is_numeric, scaling
from ablab.read.effects.sentences import (
    comparison_sentence,
    counted_as_horizon,
    interaction_sentence,
    scaling_sentence,
)
from ablab.read.effects.tables import comparison_table
from ablab.read.effects.trends import Trend, has_many, trend_sentence, trends
from ablab.read.measure_words import measure_words
from ablab.read.measured import is_paused
from ablab.read.short_variants import caveat
from ablab.read.statistics.scales import Range


@dataclass(frozen=True, repr=False)
class Effects(Displayed):
    """The effects of a grid's settings on a measure.

    Attributes:
        measure: The name of the measure.
        scale: Whether effects are differences or ratios.
        of: The settings of which effects are given; each table is a separate family for Holm's
            correction.
        base: The base value of each setting, with which its other values are compared.
        first: The settings whose base value is the first value of the axis, because the
            configuration's value is not on the axis.
        seeds: The number of seeds.
        runs: The number of runs that are compared, with and without a value.
        missing: The number of runs without a value. A step that was not reached is no missing
            value.
        horizon: The step up to which steps are compared; None if every run reached its step, or the
            measure is no step.
        margin: The equivalence margin; None if none was stated.
        marginal: Comparisons with all other settings at their base values.
        factorial: Comparisons averaged over all cells of the other settings.
        interactions: The interaction of each pair of settings, whether or not it is shown.
        scalings: The relation to each numeric setting with at least three values, if the measure
            is positive.
        cells: The mean of each cell.
        stopped: The number of runs that a stop rule ended, as far as it is known.
        robust: Interquartile means and probabilities of improvement (from ten runs a side), and
            log-rank tests (of steps that some runs did not reach), with all other settings at
            their base values.
        trends: The trend over each numeric setting with many values. Unless it was asked for by
            name, such a setting is in none of the tables of comparisons.
        best_values: The best values of such a setting at each value of another one, where the two
            are shown to interact.
        without_trend: Why other settings with many values have no trend, if they are numbers or
            vary together, by setting.
        cut: The value between runs that learnt and the others; None if all are of one kind, or
            some runs did not reach the measured step.
        learnt: On which side of ``cut`` are the runs that learnt; it means nothing without one.
        nearest: The values next to ``cut``, below and above; None without one.
        left_out: Variants that are not compared, since they were trained for far fewer steps than
            the others, with their steps; such runs are not counted in ``runs``.
        longer: Which variants were trained for far more steps, in a sentence; may be empty.
        added_seeds: That seeds were added until questions were settled, and what follows for the
            tables; empty if they were not.
        paused: That halving paused runs whose values are lacking, and what is therefore left out;
            empty if it did not.
    """

    measure: str
    scale: Scale
    of: tuple[str, ...]
    base: dict[str, Any]
    first: tuple[str, ...]
    seeds: int
    runs: int
    missing: int
    horizon: float | None
    margin: float | None
    marginal: tuple[Comparison, ...]
    factorial: tuple[Comparison, ...]
    interactions: tuple[Interaction, ...]
    scalings: tuple[Scaling, ...]
    cells: tuple[Cell, ...]
    stopped: int = 0
    robust: tuple[Robust, ...] = ()
    trends: tuple[Trend, ...] = ()
    best_values: tuple[BestValues, ...] = ()
    without_trend: Mapping[str, str] = field(default_factory=dict)
    cut: float | None = None
    learnt: Literal["below", "above"] = "below"
    nearest: tuple[float, float] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    longer: str = ""
    added_seeds: str = ""
    paused: str = ""

    def shown(self) -> Shown:
        """The comparisons over all cells; without any, the sentences."""
        title = f"effects on the {measure_words(self.measure)}: {counted(self.runs, 'run')}"
        header, rows = comparison_table(self.factorial, self.scale, short_keys(list(self.base)))
        said = self.sentences()
        if rows:
            said = said[len(self.factorial) :]
        return Shown(title, [*said, *self.notes()], header, rows, "effects.factorial")

    def as_data(self) -> dict[str, Any]:
        """The effects as plain data."""
        tables = (
            "marginal", "factorial", "interactions", "scalings", "cells", "robust", "trends",
            "best_values",
        )  # fmt: skip
        return dict(vars(self)) | {
            "of": list(self.of),
            "first": list(self.first),
            **{name: [each.as_data() for each in getattr(self, name)] for name in tables},
            "sentences": self.sentences(),
            "notes": self.notes(),
        }

    @property
    def bound(self) -> str:
        """How runs that did not reach a step count in the table; empty if they do not."""
        tables = [each for each in (*self.factorial, *self.marginal) if each.difference is not None]
        if not any(counted_as_horizon(each) for each in tables):
            return ""
        kind = "ratio" if self.scale == "ratio" else "difference"
        return f"The {kind}s count runs that did not reach it as step {self.horizon:,.0f}."

    def notes(self) -> list[str]:
        """What a reader of the tables needs: what is left out, and what few seeds leave open."""
        tables = [*self.factorial, *self.marginal]
        notes = [each for each in [caveat(self.left_out), self.longer, self.added_seeds] if each]
        notes += [self.paused] if self.paused else []
        notes += self.trend_notes()
        if self.cut is not None and any(
            each.counts is not None and each.counts.what == "learnt" for each in tables
        ):
            notes.append(
                f"A run learnt if its value is {self.learnt} {self.cut:.3g}: the values fall into "
                f"two groups{_nearest_words(self.nearest)}."
            )
        if self.horizon is not None:
            notes.append(
                f"Steps are compared up to {self.horizon:,.0f}, the last step up to which every "
                "run that did not diverge was looked at; runs that had not reached it by then "
                "count as such."
                f"{' ' * bool(self.bound)}{self.bound}"
            )
        for each in self.factorial:
            if 0 < each.cells < each.pairs // self.seeds:
                notes.append(
                    f"{each.key}={each.value} vs {each.reference}: levels are of {each.cells} of "
                    f"{each.pairs // self.seeds} cells of the other settings; in the others, too "
                    "few runs have a level. The counts are of all."
                )
        if self.stopped and self.horizon is None:
            notes.append(
                f"{self.stopped} of {self.runs} runs were ended by a stop rule: where they end "
                "shows the rule as much as the setting."
            )
        least = [each.least_p for each in tables if each.least_p is not None]
        if least and max(least) > ALPHA:
            pairs = " of pairs" * any(each.paired for each in tables)
            notes.append(
                f"Of so few seeds, an exact permutation test{pairs} gives p = {max(least):.2g} at "
                "the least; p-values here assume normal levels."
            )
        unseen = [each.unseen for each in tables if each.unseen and each.counts is None]
        if unseen:
            notes.append(
                "Intervals are for runs like those seen: up to "
                f"{100 * max(unseen):.0f}% of runs may be of another kind, such as not learning."
            )
        return notes

    def trend_notes(self) -> list[str]:
        """Why settings with many values have no trend."""
        return [f"No trend over {key}: {why}." for key, why in self.without_trend.items()]

    @property
    def trends_alone(self) -> list[Trend]:
        """The trends over settings that are not told for each value of another one."""
        depends = {each.key for each in self.best_values}
        return [each for each in self.trends if each.key not in depends]

    def sentences(self) -> list[str]:
        """A sentence for each comparison over all cells, interaction, relation and trend."""
        return [
            *(comparison_sentence(each, self.measure) for each in self.factorial),
            *(interaction_sentence(each, self.measure) for each in self.interactions),
            *(scaling_sentence(each) for each in self.scalings),
            *(trend_sentence(each, self.measure) for each in self.trends_alone),
            *(best_values_sentence(each, self.measure) for each in self.best_values),
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
    better: Better | None = None,
    guessing: float | None = None,
    limits: Range | None = None,
    points: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Effects:
    """The effects of a grid's settings.

    Args:
        frame: A row for each run: the keys, ``seed`` and ``value`` (null if there is none).
        keys: The grid's keys.
        of: The setting to compare; all by default.
        base: The base configuration's values.
        scale: ``difference``, ``ratio``, or ``auto``: ratios if the values are positive and span
            more than a factor of 30.
        margin: The largest difference that does not matter, stated in advance.
        measure: The name of the measure, for sentences.
        against: Compare with the base value, or every pair of values.
        better: Whether a lower or a higher value is better, if declared.
        guessing: The loss of guessing, if declared; see :func:`ablab.read.effects.gather`.
        limits: The range of the measure, if declared.
        points: For each key that stands for settings that vary together, the settings of each of
            its values.

    Raises:
        InputError: There is no grid, ``of`` is not an axis, or the scale or margin is invalid.
    """
    results = gather(frame, keys, base, scale, measure, better, guessing, limits)
    if margin is not None and scale == "auto" and results.scale == "ratio":
        raise InputError(
            Problem(
                f"{measure} spans more than a factor of 30 or is skewed, so ratios are "
                "compared, and the margin would be a factor",
                "margin",
                given=margin,
                expected="a margin with an explicit scale: --scale ratio --margin 1.1 (a factor), "
                "or --scale difference --margin X",
            )
        )
    chosen = tuple(results.levels) if of is None else (results.check_key(of),)
    joint = points or {}
    found, without = trends(results, chosen, joint)
    between = interactions(results, of, [k for k in joint if has_many(results, k)])
    shown = {each.key for each in found}
    compared = tuple(
        key
        for key in chosen
        if of is not None or shown.isdisjoint(joint[key][0] if key in joint else [key])
    )
    return Effects(
        measure=measure,
        scale=results.scale,
        of=chosen,
        base=results.base,
        first=results.first,
        seeds=len(results.seeds),
        runs=results.runs,
        missing=results.missing,
        horizon=results.horizon,
        margin=margin,
        marginal=differences(results, compared, "base", against, margin),
        factorial=differences(results, compared, "all", against, margin),
        interactions=between,
        scalings=tuple(scaling(results, key) for key in chosen if _scales(results, key)),
        cells=cell_means(results),
        stopped=_stopped(frame),
        robust=robust(results, compared),
        trends=found,
        best_values=best_values(results, found, between),
        without_trend=without,
        cut=_cut(results),
        nearest=_nearest(results.values, _cut(results)),
        learnt="above" if better == "higher" else "below",
    )


def _cut(results: Results) -> float | None:
    """The value between two groups of runs, on the scale of the measure."""
    if results.cut is None or results.horizon is not None:
        return None
    return math.exp(results.cut) if results.scale == "ratio" else results.cut


def _nearest(values: Array, cut: float | None) -> tuple[float, float] | None:
    """The values next to a cut, below and above it."""
    if cut is None or not (values <= cut).any() or not (values > cut).any():
        return None
    return float(values[values <= cut].max()), float(values[values > cut].min())


def _nearest_words(nearest: tuple[float, float] | None) -> str:
    return "" if nearest is None else f", the nearest are {nearest[0]:.3g} and {nearest[1]:.3g}"


def _scales(results: Results, key: str) -> bool:
    if results.cut is not None or results.horizon is not None:
        return False  # no single relation holds for runs that learn and runs that do not
    values = results.values[np.isfinite(results.values)]
    three = len(results.levels[key]) > 2  # any line fits two points
    return three and is_numeric(results, key) and bool(values.size) and bool(values.min() > 0)


def _stopped(frame: pl.DataFrame) -> int:
    """How many runs a stop rule ended, if the frame has their status."""
    if "status" not in frame.columns:
        return 0
    stopped = frame.filter(pl.col("status") == "stopped")
    return stopped.height - (stopped.filter(is_paused()).height if "reason" in frame.columns else 0)
