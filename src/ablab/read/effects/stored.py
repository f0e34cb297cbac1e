"""The effects of a stored experiment's settings."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from ablab.config import Config, InputError
from ablab.experiments.parts import PARTS, Parts, check_parts
from ablab.experiments.tree import Origins
from ablab.read.effects.report import Effects, effects
from ablab.read.measures import measure_table
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store

_UNKNOWN = object()


def experiment_effects(
    store: Store,
    record: ExperimentRecord,
    of: str | None = None,
    measure: str | None = None,
    scale: Literal["auto", "difference", "ratio"] = "auto",
    margin: float | None = None,
) -> Effects:
    """The effects of an experiment's settings on a measure.

    Args:
        store: The store.
        record: The experiment.
        of: The setting to compare; all by default.
        measure: The measure; by default ``final(eval_loss)`` if any run has it, else
            ``final(train_loss)``.
        scale: Differences or ratios; see :func:`ablab.read.effects.gather`.
        margin: The largest difference that does not matter, stated in advance.

    Raises:
        InputError: The experiment has no grid, or the setting, measure, scale or margin is
            invalid.
    """
    asked, frame = _default(store, record) if measure is None else (measure, None)
    if frame is None:
        frame = measure_table(store, record, asked)
    keys = list(record.definition["grid"])
    levels = {key: frame[key].unique(maintain_order=True).to_list() for key in keys}
    base = base_values(record.definition, levels)
    return effects(frame, keys, of, base, scale, margin, asked)


def _default(store: Store, record: ExperimentRecord) -> tuple[str, pl.DataFrame | None]:
    """``final(eval_loss)`` if any run has it, else ``final(train_loss)``."""
    text = "final(eval_loss)"
    try:
        frame = measure_table(store, record, text)
    except StoreError:
        raise
    except InputError:  # it was not logged
        return "final(train_loss)", None
    return (text, frame) if frame["value"].is_not_null().any() else ("final(train_loss)", None)


def base_values(definition: Mapping[str, Any], levels: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The base configuration's value of each axis, if it is a value of that axis.

    For an axis of bundles, it is the first bundle that changes nothing in the base configuration.

    Args:
        definition: The experiment as plain data.
        levels: The values of each axis, as shown in tables.
    """
    tree = {part: definition[part] for part in PARTS if part in definition}
    try:
        parts: Parts | Mapping[str, Any] = check_parts(tree, Origins())
    except (InputError, ImportError):  # the base may be incomplete although the cells are complete
        parts = tree
    found = {}
    for key, choices in definition["grid"].items():
        if isinstance(choices, Mapping):
            for label, settings in choices.items():
                if all(_same(_value(parts, name), value) for name, value in settings.items()):
                    found[key] = label
                    break
            continue
        value = _value(parts, key)
        for level in levels[key]:
            if _same(value, level) or (isinstance(level, str) and _text(value) == level):
                found[key] = level
                break
    return found


def _value(parts: Parts | Mapping[str, Any], key: str) -> Any:
    node: Any = parts
    for name in key.split("."):
        if isinstance(node, Config | Parts):
            node = getattr(node, name, _UNKNOWN)
        elif isinstance(node, Mapping):
            node = node.get(name, node.get(int(name), _UNKNOWN) if name.isdigit() else _UNKNOWN)
        else:
            return _UNKNOWN
    return node


def _same(value: Any, level: Any) -> bool:
    """Equality that distinguishes True from 1."""
    return bool(isinstance(value, bool) == isinstance(level, bool) and value == level)


def _text(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except TypeError:
        return None
