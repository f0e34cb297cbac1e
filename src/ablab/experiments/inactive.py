"""Keys that do not vary in a run: null in a store, and ``inactive`` where a reader sees them."""

from collections.abc import Collection, Mapping
from typing import Any

from ablab.experiments.grid import INACTIVE


class Inactive(str):
    """The label of a key that does not vary in a run.

    It is text, and told from a value that is the same text: columns have no value for it.
    """


_LABEL = Inactive(INACTIVE)


def nullable_keys(grid: Mapping[str, Any]) -> set[str]:
    """The keys of which null is a value, so that a store does not record it for other runs.

    Args:
        grid: The grid of a definition: the values, or the bundles, by key.
    """
    return {
        key
        for key, values in grid.items()
        if None in values or (isinstance(values, Mapping) and "null" in values)
    }


def labelled(keys: Mapping[str, Any], nullable: Collection[str] | None) -> dict[str, Any]:
    """The recorded keys of a run as a reader sees them.

    Args:
        keys: The keys and values.
        nullable: The keys of which null is a value; None if it can be one of all.
    """
    if nullable is None:
        return dict(keys)
    return {
        key: _LABEL if value is None and key not in nullable else value
        for key, value in keys.items()
    }
