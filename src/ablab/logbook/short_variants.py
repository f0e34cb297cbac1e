"""Variants that were trained for far fewer steps than the others, which need a caveat."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from ablab.experiments.measures import Measure
from ablab.store.store import RunRecord

_FAR_FEWER = 4.0  # times fewer steps than the median variant
_PLACED = ("at", "mean", "diverged", "seconds", "n_params")  # measures that name their steps


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
    budgets: dict[str, int] = {}
    for run in runs:
        key = cell_key(run.variant)
        budgets[key] = max(run.steps, budgets.get(key, 0))
    usual = median(budgets.values()) if budgets else 0
    return {key: steps for key, steps in budgets.items() if steps * _FAR_FEWER < usual}


def short_values(runs: Sequence[RunRecord]) -> dict[tuple[str, str], int]:
    """The steps of each value of a setting all of whose variants are short."""
    short = short_variants(runs)
    found: dict[tuple[str, str], list[int | None]] = {}
    for run in runs:
        for key, value in run.variant.items():
            found.setdefault((key, str(value)), []).append(short.get(cell_key(run.variant)))
    return {
        key: max(known)
        for key, steps in found.items()
        if len(known := [each for each in steps if each is not None]) == len(steps)
    }


def is_affected(measure: Measure) -> bool:
    """Whether a measure depends on how far the runs were trained."""
    return measure.function not in _PLACED


def only_words(steps: int) -> str:
    """The caveat beside a number: ``after only 50 steps``."""
    return f"after only {steps:,} step{'' if steps == 1 else 's'}"
