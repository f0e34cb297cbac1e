"""A grid in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.experiments.axes import Axis
from ablab.experiments.joint_keys import joint_keys
from ablab.experiments.variant import variant_label

_LISTED = 4  # with more numbers than this, their range is shown, too


def grid_text(axes: Sequence[Axis], cells: Sequence[Mapping[str, Any]]) -> str:
    """A grid in one line: ``model.n_heads (2) × train.lr (8: 0.0001 to 0.01)``.

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


def several_text(cells: Sequence[Mapping[str, Any]]) -> str:
    """Several cells in one line: ``model.d_model=16, train.lr=0.0001 to 0.01 (8)``.

    If they differ in other settings than numbers, the first of them and how many more there are.
    """
    count, ranges = len(cells), {}
    for key in cells[0]:
        labels = [cell[key] for cell in cells]
        if any(label != labels[0] for label in labels):
            ranges[key] = _values_text(labels) if _are_numbers(labels) else None
    if count > 2 and ranges and None not in ranges.values():
        return f"{variant_label({**cells[0], **ranges})} ({count:,})"
    return variant_label(cells[0]) + (f" and {count - 1:,} more" if count > 1 else "")


def _values_text(labels: Sequence[Any]) -> str:
    """Two numbers, or the range of more."""
    distinct = sorted(set(labels))
    if len(distinct) == 2:
        return " or ".join(f"{each:.6g}" for each in distinct)
    return f"{distinct[0]:.6g} to {distinct[-1]:.6g}"


def range_text(labels: Sequence[Any]) -> str:
    """How many labels there are, and for many numbers their range: ``8: 0.0001 to 0.01``."""
    count = f"{len(labels):,}"
    if len(labels) <= _LISTED or not _are_numbers(labels):
        return count
    return f"{count}: {min(labels):.6g} to {max(labels):.6g}"


def _are_numbers(labels: Sequence[Any]) -> bool:
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in labels)
