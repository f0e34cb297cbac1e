"""One run of a stored definition, without a look at the other cells of its grid."""

from collections.abc import Mapping
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.experiment import experiment
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
    grid = {key: _only(key, choices, variant) for key, choices in definition["grid"].items()}
    alone = {key: value for key, value in definition.items() if key != "expect"}
    return experiment(alone | {"grid": grid, "seeds": [seed]}).runs[0]


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
