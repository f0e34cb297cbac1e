"""One run of a stored definition, without a look at the other cells of its grid."""

from collections.abc import Mapping
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.experiment import experiment
from ablab.experiments.grid import INACTIVE, same_label
from ablab.train.run import Run


def run_of_cell(definition: Mapping[str, Any], variant: Mapping[str, Any], seed: int) -> Run:
    """The run of one cell and seed. Only components of this cell are imported.

    Args:
        definition: The experiment as plain data.
        variant: The cell: the labels of its choices by axis.
        seed: The seed.

    Raises:
        InputError: The definition has no such cell, or the cell is invalid.
    """
    varied = varied_keys(definition, variant)
    grid = {
        key: _only(key, choices, variant)
        for key, choices in definition["grid"].items()
        if key in varied
    }
    others = ("expect", "cells", "made_by", "halving")  # say nothing of one run
    alone = {key: value for key, value in definition.items() if key not in others}
    return experiment(alone | {"grid": grid, "seeds": [seed]}).runs[0]


def varied_keys(definition: Mapping[str, Any], variant: Mapping[str, Any]) -> set[str]:
    """The keys that vary in a cell: all, if the grid is the product of its axes.

    Args:
        definition: The experiment as plain data.
        variant: The cell: the labels of its choices by axis.

    Raises:
        InputError: The definition lists its cells, and this is none of them.
    """
    keys = list(definition["grid"])
    if "cells" not in definition:
        return set(keys)
    for cell in definition["cells"]:
        if all(_is_label(key, cell, variant.get(key)) for key in keys):
            return set(cell)
    raise InputError(Problem(f"the stored experiment has no cell {dict(variant)}", "cells"))


def _is_label(key: str, cell: Mapping[str, Any], label: Any) -> bool:
    """Whether a label of a run is that of a cell. Most differ at a glance: there can be many cells.

    Earlier releases stored null for a key that does not vary.
    """
    if key not in cell:
        return label is None or label == INACTIVE
    own = cell[key]
    if type(own) is type(label) and isinstance(own, str | int | float):
        return bool(own == label)
    return same_label(key, own, label)


def _only(key: str, choices: Any, variant: Mapping[str, Any]) -> Any:
    """An axis with the choice of a cell only."""
    if isinstance(choices, Mapping):
        chosen: Any = {
            label: settings
            for label, settings in choices.items()
            if key in variant and str(label) == str(variant[key])
        }
    else:
        chosen = [value for value in choices if key in variant and value == variant[key]][:1]
    if not chosen:
        raise InputError(
            Problem(f"the stored experiment has no {key} of {variant.get(key)!r}", f"grid.{key}")
        )
    return chosen
