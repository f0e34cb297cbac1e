"""The settings that tuning has found for the cells of a grid; they are no axis of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.axes import Axis, Choice, SweepContext, as_text
from ablab.experiments.cell_checker import CellChecker, with_axes
from ablab.experiments.grid import IDLE, Cell
from ablab.experiments.grid_data import cell_data
from ablab.experiments.limits import check_runs
from ablab.experiments.sweep_values import at_share
from ablab.experiments.tree import Origins
from ablab.experiments.tuning import Tuning, read_tuning, tuning_of

_UNAFFECTED = ("name", "question", "logbook", "answer", "analyze", "expect", "meant", "seeds")
_TUNED = "tuned"  # the key of the settings among the axes that are checked, and of no axis
_FORM = "tuned: {by: DIGEST, cells: [{cell: {key: value, …}, settings: {key: value, …}}, …]}"


def discard_tuned(tree: dict[str, Any], keys: Sequence[str]) -> None:
    """Removes the settings that were found from a tree in which some keys are overridden.

    What was best before may not be best now, so it is to be found again.

    Args:
        tree: The tree, which is modified.
        keys: What is overridden. The name, seeds and what is asked do not affect the settings.
    """
    if any(key.partition(".")[0] not in _UNAFFECTED for key in keys):
        tree.pop(_TUNED, None)


def tuning_data(
    tree: Mapping[str, Any],
    axes: Sequence[Axis],
    cells: Sequence[Cell],
    context: SweepContext,
    origins: Origins,
) -> dict[str, Any]:
    """How an experiment is tuned and what was found, as plain data; empty if it is not tuned.

    Args:
        tree: The experiment's tree.
        axes: The axes of its grid.
        cells: The cells of its grid.
        context: What the values of ranges depend on.
        origins: The sources of the settings.

    Raises:
        InputError: It is invalid, or there would be too many runs.
    """
    tuning = read_tuning(tree.get("tune"), axes, context, origins)
    if tuning is None and tree.get(_TUNED) is not None and "tune" not in tree:
        what, expected = "tuned is what tune found, and there is no tune", "tune: {over: …}"
        raise InputError(Problem(what, _TUNED, origins.of((_TUNED,)), expected=expected))
    if tuning is None:
        return {}
    source = origins.of(("tune",))
    sizes = {"variants": len(cells), "tune.trials": tuning.trials}
    check_runs(len(cells) * tuning.trials, sizes, tuning.seeds, [source])
    found = tree.get(_TUNED)
    data = {"tune": tuning.as_data()}
    if found is None:
        return data
    settings = _settings_of_cells(found, origins.of((_TUNED,)))
    if not all(as_text(cell_data(cell)) in settings for cell in cells):
        return data  # of another grid
    return data | {_TUNED: dict(found)}


def is_to_tune(definition: Mapping[str, Any]) -> bool:
    """Whether the settings of an experiment are still to be found."""
    return "tune" in definition and _TUNED not in definition


def digest_of_trials(definition: Mapping[str, Any]) -> str | None:
    """The digest of the experiment by which one was tuned; None if it was not.

    Args:
        definition: The experiment as plain data.
    """
    found = definition.get(_TUNED)
    return str(found.get("by")) if isinstance(found, Mapping) else None


def tuned_settings(definition: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The cells of an experiment that was tuned, each with its settings.

    Args:
        definition: The experiment as plain data.

    Raises:
        InputError: What was found is damaged.
    """
    found = definition[_TUNED]
    _settings_of_cells(found, None)  # checks it
    return [(dict(each["cell"]), dict(each["settings"])) for each in found["cells"]]


def with_tuned(
    tree: dict[str, Any],
    definition: Mapping[str, Any],
    axes: Sequence[Axis],
    cells: Sequence[Cell],
    origins: Origins,
) -> tuple[Sequence[Axis], Sequence[Cell]]:
    """The axes and cells of a grid with the settings that were found, as if they were an axis.

    Args:
        tree: The experiment's tree.
        definition: The experiment as plain data.
        axes: The axes of its grid.
        cells: The cells of its grid.
        origins: The sources of the settings.

    Raises:
        InputError: A tuned setting is not valid in a cell.
    """
    if "tune" not in definition:
        return axes, cells
    source = origins.of(("tune", "over"))
    if is_to_tune(definition):
        tuning = tuning_of(definition)
        assert tuning is not None, "it is in the definition"
        _check_middle(tree, tuning, axes, cells, origins)
        return axes, cells
    settings = _settings_of_cells(definition[_TUNED], origins.of((_TUNED,)))
    choices = {text: _choice(each) for text, each in settings.items()}
    own = [choices[as_text(cell_data(cell))] for cell in cells]
    made = [cell | {_TUNED: choice} for cell, choice in zip(cells, own, strict=True)]
    return [*axes, Axis(_TUNED, tuple(own), source)], made


def _check_middle(
    tree: dict[str, Any],
    tuning: Tuning,
    axes: Sequence[Axis],
    cells: Sequence[Cell],
    origins: Origins,
) -> None:
    """Checks each cell with the middle of each range, so that errors come before training."""
    middle = {key: at_share(e.bounds, 0.5, e.whole) for key, e in tuning.over.items()}
    choice = _choice(middle)
    every = [*axes, Axis(_TUNED, (choice,), origins.of(("tune", "over")))]
    checker = CellChecker(tree, every, with_axes(origins, every))
    for cell in cells:
        keys = {axis.key: cell.get(axis.key, IDLE).label for axis in axes}
        checker.variant(keys, (*(cell.get(axis.key, IDLE) for axis in axes), choice), (0,))


def _choice(settings: Mapping[str, Any]) -> Choice:
    """Settings as a choice of an axis."""
    paths = ((tuple(key.split(".")), value) for key, value in settings.items())
    return Choice(as_text(settings), tuple(paths))


def _settings_of_cells(found: Any, source: str | None) -> dict[str, dict[str, Any]]:
    """The settings of each cell, by the cell as text.

    Raises:
        InputError: What was found is not of this form.
    """
    cells = found.get("cells") if isinstance(found, Mapping) else None
    if not isinstance(cells, list | tuple):
        raise InputError(Problem("tuned has a wrong value", _TUNED, source, found, _FORM))
    settings = {}
    for each in cells:
        own = each.get("settings") if isinstance(each, Mapping) else None
        cell = each.get("cell") if isinstance(each, Mapping) else None
        if not isinstance(own, Mapping) or not isinstance(cell, Mapping):
            raise InputError(Problem("tuned has a wrong value", _TUNED, source, each, _FORM))
        settings[as_text(cell)] = dict(own)
    return settings
