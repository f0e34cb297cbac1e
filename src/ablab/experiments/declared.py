"""What is declared of the measures of a task, by the names of columns."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def declared(column: str, names: Mapping[str, T]) -> T | None:
    """What is declared of the measure of a metrics column, or of the nearest of its parents.

    Args:
        column: The column: ``train_NAME`` or ``eval_NAME``; of ``eval_accuracy/digit_0``, the
            parent is ``eval_accuracy``.
        names: What is declared, by the name of the measure.
    """
    prefix, _, name = column.partition("_")
    if prefix not in ("train", "eval"):
        return None
    parts = name.split("/")
    parents = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((names[each] for each in parents if each in names), None)
