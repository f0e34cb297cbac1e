"""A grid in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.experiments.axes import Axis
from ablab.experiments.joint_keys import joint_keys

_LISTED = 4  # with more numbers than this, their range is shown, too


def grid_text(axes: Sequence[Axis], cells: Sequence[Mapping[str, Any]]) -> str:
    """A grid in one line: ``model.n_heads (2) × train.lr (8: 0.0001 … 0.01)``.

    Args:
        axes: The axes.
        cells: The cells: the label of each key; None where a key does not vary.
    """
    found = {axis.key: axis for axis in axes}
    parts = []
    for keys in joint_keys(list(found), cells):
        each = [f"{key} ({range_text([c.label for c in found[key].choices])})" for key in keys]
        rows = len({str([cell.get(key) for key in keys]) for cell in cells})
        together = " + ".join(each)
        parts.append(each[0] if len(keys) == 1 else f"[{together}: {rows:,} combinations]")
    return " × ".join(parts) or "no grid"


def range_text(labels: Sequence[Any]) -> str:
    """How many labels there are, and for many numbers their range: ``8: 0.0001 … 0.01``."""
    count = f"{len(labels):,}"
    numbers = [each for each in labels if isinstance(each, int | float)]
    plain = len(numbers) == len(labels) and not any(isinstance(each, bool) for each in labels)
    if len(labels) <= _LISTED or not plain:
        return count
    return f"{count}: {min(numbers):.6g} … {max(numbers):.6g}"
