"""The effects of a stored experiment's settings.

Reads what is stored: no module of the definition is imported and no corpus is read.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import polars as pl

from ablab.config import InputError
from ablab.experiments.inactive import nullable_keys
from ablab.experiments.measures import VALUES, parse_measure
from ablab.experiments.registration import derived_base, same
from ablab.experiments.seeds import settling_of
from ablab.read.directions import column_direction, measure_range
from ablab.read.effects.added_seeds import with_added_seeds
from ablab.read.effects.joint import join
from ablab.read.effects.paused_runs import without_paused
from ablab.read.effects.report import Effects, effects
from ablab.read.effects.results import Better
from ablab.read.guessing import guessing_loss
from ablab.read.measures import is_step, measure_table
from ablab.read.short_variants import comparable, is_affected, longer_words
from ablab.store.index import StoreError
from ablab.store.metrics import experiment_runs
from ablab.store.store import ExperimentRecord, Store


def experiment_effects(
    store: Store,
    record: ExperimentRecord,
    of: str | None = None,
    measure: str | None = None,
    scale: Literal["auto", "difference", "ratio"] = "auto",
    margin: float | None = None,
) -> Effects:
    """The effects of an experiment's settings on a measure.

    Variants that were trained for far fewer steps than the others are left out, unless the measure
    names its steps.

    Args:
        store: The store.
        record: The experiment.
        of: The setting to compare; all by default.
        measure: The measure; by default the ``answer`` of the experiment, else
            ``final(eval_loss)`` if any run has it, else ``final(train_loss)``.
        scale: Differences or ratios; see :func:`ablab.read.effects.gather`.
        margin: The largest difference that does not matter, stated in advance.

    Raises:
        InputError: The experiment has no grid, or the setting, measure, scale or margin is
            invalid, or only one variant was not trained for far fewer steps than another.
    """
    asked, frame = default_measure(store, record) if measure is None else (measure, None)
    if frame is None:
        frame = measure_table(store, record, asked)
    found = effects_of_frame(store, record, asked, frame, of, scale, margin)
    settling = settling_of(record.definition)
    return found if settling is None else with_added_seeds(found, settling)


def effects_of_frame(
    store: Store,
    record: ExperimentRecord,
    asked: str,
    frame: pl.DataFrame,
    of: str | None = None,
    scale: Literal["auto", "difference", "ratio"] = "auto",
    margin: float | None = None,
) -> Effects:
    """The effects of an experiment's settings on measured runs, which need not be all.

    Args:
        store: The store.
        record: The experiment.
        asked: The measure.
        frame: The runs, as :func:`ablab.read.measures.measure_table` gives them.
        of: The setting to compare; all by default.
        scale: Differences or ratios; see :func:`ablab.read.effects.gather`.
        margin: The largest difference that does not matter, stated in advance.

    Raises:
        InputError: As for :func:`experiment_effects`.
    """
    keys = list(record.definition["grid"])
    parsed, left_out, longer = parse_measure(asked), dict[str, int](), ""
    if is_affected(parsed) and keys:
        runs = experiment_runs(store, record)
        frame, left_out = comparable(frame, runs)
        longer = longer_words(runs)
    levels = {key: frame[key].unique(maintain_order=True).to_list() for key in keys}
    base = base_values(_known_base(record), levels)
    better = better_values(record, asked)
    guessing, limits = guessing_loss(record, parsed), measure_range(record, parsed)
    points = None
    if "cells" in record.definition:  # the grid is not the product of its axes
        joint = join(frame, keys, nullable_keys(record.definition["grid"]))
        frame, keys, points, base = joint.frame, joint.keys, joint.points, joint.base(base)
        of = None if of is None else joint.key_of(of)
    found = effects(
        frame, keys, of, base, scale, margin, asked, better=better, guessing=guessing,
        limits=limits, points=points,
    )  # fmt: skip
    return without_paused(replace(found, left_out=left_out, longer=longer), frame)


def better_values(record: ExperimentRecord, text: str) -> Better | None:
    """Which values of a measure are better, as declared; None if they are not."""
    measure = parse_measure(text)
    if is_step(measure):
        return "lower"
    if measure.function not in VALUES:
        return None
    return measure.direction or column_direction(record, measure.column)


def default_measure(store: Store, record: ExperimentRecord) -> tuple[str, pl.DataFrame | None]:
    """The experiment's answer, else the held-out loss if any run has it, else the training loss.

    Returns:
        The measure, and its values if they have been read.
    """
    if record.registration is not None and record.registration.answer is not None:
        answer = record.registration.answer
        return answer, _of_the_answer(store, record, answer)
    text = "final(eval_loss)"
    try:
        frame = measure_table(store, record, text)
    except StoreError:
        raise
    except InputError:  # it was not logged
        return "final(train_loss)", None
    return (text, frame) if frame["value"].is_not_null().any() else ("final(train_loss)", None)


def _of_the_answer(store: Store, record: ExperimentRecord, answer: str) -> pl.DataFrame:
    """The measure that the experiment declares; errors say that it is this one."""
    try:
        return measure_table(store, record, answer)
    except StoreError:
        raise
    except InputError as error:
        problems = [
            replace(each, message=f"{each.message}; the experiment's answer needs it", key="answer")
            for each in error.problems
        ]
        raise InputError(*problems) from None


def base_values(base: Mapping[str, Any], levels: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The base value of each axis, if it is a value of that axis.

    Args:
        base: The base configuration's value of each axis, as far as it is known.
        levels: The values of each axis, as shown in tables.
    """
    found = {}
    for key, value in base.items():
        for level in levels[key]:
            if same(value, level) or (isinstance(level, str) and _text(value) == level):
                found[key] = level
                break
    return found


def _known_base(record: ExperimentRecord) -> Mapping[str, Any]:
    """The base values that were registered, or what the definition says as plain data."""
    if record.registration is None:
        return derived_base(record.definition)
    base = record.registration.base
    return {key: base[key] for key in record.definition["grid"] if key in base}


def _text(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except TypeError:
        return None
