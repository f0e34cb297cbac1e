"""Checks of expectations against the experiment that they are about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.cell_text import same_label
from ablab.experiments.conditions import parse_condition
from ablab.experiments.expectations import Expectation
from ablab.experiments.levels import parse_level
from ablab.experiments.measures import parse_measure
from ablab.experiments.setting_keys import known_keys, suggest_key
from ablab.experiments.tree import leaves


def check_expectations(
    expectations: Sequence[Expectation], names: Sequence[str], source: str | None
) -> None:
    """Rejects expectations about settings that do not exist.

    A setting that exists but does not vary in this grid is allowed, since a smaller grid may be
    run first.

    Args:
        expectations: The expectations.
        names: The keys of the axes of the grid.
        source: Where the expectations were written.

    Raises:
        InputError: A key is neither a setting nor an axis.
    """
    problems = []
    for each in expectations:
        keys = [*each.where, *(each.lower_than or each.higher_than or each.same_as or {})]
        keys += each.predicts or {}
        keys += [key for key in (each.falls_with, each.rises_with) if key is not None]
        for key in keys:
            if key not in names and key not in known_keys() and suggest_key(key) != key:
                problems.append(
                    Problem(
                        f"expect: {key} is neither a setting nor an axis of this grid",
                        "expect",
                        source,
                        each.text,
                        "one of " + ", ".join(names) if names else "a setting that varies",
                        suggest_key(key, list(names)) if names else suggest_key(key),
                    )
                )
    if problems:
        raise InputError(*problems)


def check_levels(
    expectations: Sequence[Expectation],
    answer: str | None,
    parts: Iterable[Any],
    source: str | None,
) -> None:
    """Rejects levels that are settings which some variant lacks or which are not numbers.

    Args:
        expectations: The expectations.
        answer: The measure that the question is about.
        parts: The checked parts of each variant, with ``task``, ``model`` and ``train``.
        source: Where the expectations were written.

    Raises:
        InputError: A level has no value.
    """
    settings = (
        {
            "task": each.task.model_dump(mode="json"),  # its identity can need a corpus
            "model": each.model.identity(),
            "train": each.train.identity(),
        }
        for each in parts
    )
    check_settings(expectations, answer, settings, source)


def check_settings(
    expectations: Sequence[Expectation],
    answer: str | None,
    settings: Iterable[Mapping[str, Any]],
    source: str | None,
) -> None:
    """The same for the settings of runs, as nested mappings.

    Raises:
        InputError: A level has no value, or bounds are in the wrong order.
    """
    measures = [parse_measure(each.measure, source) for each in expectations]
    conditions = [each.lower_if or each.higher_if for each in expectations]
    measures += [parse_condition(each, source).measure for each in conditions if each is not None]
    measures += [] if answer is None else [parse_measure(answer, source)]
    measures = [each for each in measures if each.levels]
    levels = [level for each in expectations for level in each.levels]
    if not measures and not levels:
        return
    for each in settings:
        for level in levels:
            level.value(each, source)
        _check_orders(expectations, each, source)
        for measure in measures:
            measure.resolved(each)


def _check_orders(
    expectations: Sequence[Expectation], settings: Mapping[str, Any], source: str | None
) -> None:
    """Checks the order of bounds that are settings, for one run."""
    known = {".".join(path): value for path, value in leaves(settings)}
    for each in expectations:
        bounds = each.within or ()
        is_there = all(
            key in known and same_label(known[key], value) for key, value in each.where.items()
        )  # of a where that is about bundles, this is not known here
        if is_there and any(isinstance(bound, str) for bound in bounds):
            numbers = [
                parse_level(bound, source).value(settings, source)
                if isinstance(bound, str)
                else bound
                for bound in bounds
            ]
            each.check_order(*numbers)
