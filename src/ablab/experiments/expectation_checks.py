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
    expectations: Sequence[Expectation],
    names: Sequence[str],
    source: str | None,
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
    bounded = [each for each in expectations if each.levels]
    if not measures and not bounded:
        return
    elsewhere: dict[int, InputError | None] = {}  # what is wrong with bounds, if no run has them
    for each in settings:
        _check_bounds(bounded, each, source, elsewhere)
        for measure in measures:
            measure.resolved(each)
    for error in elsewhere.values():
        if error is not None:
            raise error


def _check_bounds(
    expectations: Sequence[Expectation],
    settings: Mapping[str, Any],
    source: str | None,
    elsewhere: dict[int, InputError | None],
) -> None:
    """Checks bounds that are settings, and their order, of expectations that are about a run.

    Args:
        expectations: The expectations.
        settings: The settings of the run.
        source: Where they were written.
        elsewhere: By the places of expectations, what is wrong with their bounds in runs that they
            may not be about; None if some run has them.
    """
    known = {".".join(path): value for path, value in leaves(settings)}
    for place, each in enumerate(expectations):
        is_there = all(
            key in known and same_label(known[key], value) for key, value in each.where.items()
        )  # of a where that is about bundles, this is not known here
        try:
            for level in each.levels:
                level.value(settings, source)
        except InputError as error:
            if is_there:
                raise
            elsewhere.setdefault(place, error)
            continue
        elsewhere[place] = None
        if not is_there:
            continue
        bounds = each.within or ()
        if any(isinstance(bound, str) for bound in bounds):
            numbers = [
                parse_level(bound, source).value(settings, source)
                if isinstance(bound, str)
                else bound
                for bound in bounds
            ]
            each.check_order(*numbers)
