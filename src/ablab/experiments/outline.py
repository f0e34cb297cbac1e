"""The outline of an experiment: what can be read without its modules and its data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablab.experiments.axes import Axis
from ablab.experiments.expectations import Expectation
from ablab.experiments.grid import Cell
from ablab.experiments.identity import digest


@dataclass(frozen=True)
class Outline:
    """An experiment without its variants, whose settings are not checked.

    Attributes:
        name: The name.
        question: The question it asks.
        axes: The axes of the grid, in order.
        cells: The cells of the grid: the choice of each axis that varies there, by key.
        seeds: The seeds of every variant.
        expectations: What is expected of the results.
        definition: The experiment as plain data.
        meant: Findings of the doctor that are meant, with the reason, by check.
    """

    name: str
    question: str
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    expectations: tuple[Expectation, ...]
    definition: dict[str, Any]
    meant: dict[str, str]


def trained_part(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without what affects no run: the answer, expectations, size, and so on.

    The settings that tuning found are left out, too: they follow from the rest. An experiment is
    the same question before and after, and its runs tell the two apart.
    """
    excluded = ("answer", "expect", "analyze", "size", "logbook", "meant", "made_by", "tuned")
    return {k: v for k, v in definition.items() if k not in excluded}


def trained_digest(definition: Mapping[str, Any]) -> str:
    """A digest of the part of a definition that affects runs, the same once it was stored."""
    return digest(json.loads(json.dumps(trained_part(definition))))
