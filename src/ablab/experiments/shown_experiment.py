"""What a notebook shows of an experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config.html import table
from ablab.config.shown import Shown
from ablab.experiments.axes import Axis
from ablab.experiments.expectations import Expectation
from ablab.experiments.parts import PARTS
from ablab.experiments.tree import leaves

_LISTED = 8  # values of an axis
_MOST = 60  # base settings


def shown_experiment(
    text: str,
    axes: Sequence[Axis],
    expectations: Sequence[Expectation],
    definition: Mapping[str, Any],
) -> Shown:
    """The question, the size of the grid, its axes, what is expected, and the base settings.

    Args:
        text: The name with the question, and the size of the grid, in two lines.
        axes: The axes.
        expectations: What is expected.
        definition: The experiment as plain data.
    """
    title, _, size = text.rpartition("\n")
    expected = [f"expected: {each.text}" for each in expectations]
    parts = {key: definition[key] for key in PARTS if key in definition}
    base = [(".".join(path), str(value)) for path, value in leaves(parts)]
    return Shown(
        title.replace("\n", " "),
        [size, *expected],
        ["setting", "values"] if axes else (),
        [(axis.key, _values([choice.label for choice in axis.choices])) for axis in axes],
        below=[("base settings", table(["setting", "value"], base[:_MOST]))] if base else [],
    )


def _values(labels: Sequence[Any]) -> str:
    """The values of an axis, the first of many."""
    more = f", and {len(labels) - _LISTED:,} more" if len(labels) > _LISTED else ""
    return ", ".join(map(str, labels[:_LISTED])) + more
