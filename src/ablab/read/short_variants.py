"""Variants that were trained for far fewer steps than the others, which need a caveat."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import polars as pl

from ablab.config import InputError, Problem
from ablab.experiments.measures import Measure
from ablab.experiments.short_names import short_names
from ablab.store.store import RunRecord

_FAR_FEWER = 4.0  # times fewer steps than the median variant
_PLACED = ("at", "mean")  # measures that name their steps: a run that ended before has no value
_OTHER = ("diverged", "n_params")  # ... or do not depend on how far a run was trained


def cell_key(keys: Mapping[str, Any]) -> str:
    """A variant's keys and values as a text, whatever the order and the types."""
    return str(sorted((key, str(value)) for key, value in keys.items()))


def short_variants(runs: Sequence[RunRecord]) -> dict[str, int]:
    """The steps of each variant whose runs were to have far fewer than those of the others.

    That is a quarter of the steps of the median variant. Runs that a rule stopped early are not
    short, since they came to where the rule ends them.

    Returns:
        The number of steps, by :func:`cell_key`.
    """
    budgets, usual = _budgets(runs)
    return {key: steps for key, steps in budgets.items() if steps * _FAR_FEWER < usual}


def short_runs(runs: Sequence[RunRecord]) -> dict[str, int]:
    """The steps of the variants of :func:`short_variants`, by the ids of their runs.

    Columns of settings have labels of other types than the variants, such as 0.0 for 0.
    """
    short = short_variants(runs)
    each = {run.run: short.get(cell_key(run.variant)) for run in runs}
    return {run: steps for run, steps in each.items() if steps is not None}


def longer_words(runs: Sequence[RunRecord]) -> str:
    """Which variants were to have far more steps than the others, and how many times as many.

    That is more than four times those of the median variant. They are compared, but the steps can
    be what makes the difference. Empty if there are none.
    """
    budgets, usual = _budgets(runs)
    cells = {cell_key(run.variant): run.variant for run in runs}
    names = dict(zip(cells, short_names(list(cells.values())), strict=True))
    each = [
        f"{names[key]} ({steps:,} steps, {steps / usual:.3g} times as many)"
        for key, steps in budgets.items()
        if steps > _FAR_FEWER * usual
    ]
    if not each:
        return ""
    return (
        f"Compared, though trained for far more steps than the usual {usual:,.0f}, which can be "
        f"what makes a difference: {', '.join(each)}."
    )


def _budgets(runs: Sequence[RunRecord]) -> tuple[dict[str, int], float]:
    """The steps that each variant was to have, and those of the median variant."""
    budgets: dict[str, int] = {}
    for run in runs:
        key = cell_key(run.variant)
        budgets[key] = max(run.steps, budgets.get(key, 0))
    return budgets, median(budgets.values()) if budgets else 0


def is_affected(measure: Measure) -> bool:
    """Whether a measure depends on how far the runs were trained."""
    return measure.function not in (*_PLACED, *_OTHER)


def comparable(
    frame: pl.DataFrame, runs: Sequence[RunRecord]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of the variants that are compared, and the other variants with their steps.

    Args:
        frame: A row for each run, with its id as ``run``.
        runs: The runs.

    Raises:
        InputError: Only one variant was not trained for far fewer steps than another.
    """
    short = short_variants(runs)
    if not short:
        return frame, {}
    cells = {cell_key(run.variant): run.variant for run in runs}
    names = dict(zip(cells, short_names(list(cells.values())), strict=True))
    left_out = {names[key]: steps for key, steps in short.items()}
    if len(short) > len(cells) - 2:
        raise InputError(
            Problem(
                "there is nothing to compare: without the variants that were trained for far "
                f"fewer steps than the others, {_listed(left_out)}, fewer than two are left",
                expected="a measure at a step that all have, such as at(eval_loss, 50)",
            )
        )
    return frame.filter(~pl.col("run").is_in(list(short_runs(runs)))), left_out


def caveat(left_out: Mapping[str, int]) -> str:
    """Which variants are not compared, and why; empty if all are."""
    if not left_out:
        return ""
    return f"Not compared, since trained for far fewer steps: {_listed(left_out)}."


def _listed(left_out: Mapping[str, int]) -> str:
    """Variants with their steps, as text."""
    return ", ".join(
        f"{name} ({steps:,} step{'' if steps == 1 else 's'})" for name, steps in left_out.items()
    )


def only_words(steps: int) -> str:
    """The caveat beside a number: ``after only 50 steps``."""
    return f"after only {steps:,} step{'' if steps == 1 else 's'}"
