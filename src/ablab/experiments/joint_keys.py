"""Which keys of a grid vary together, and which independently."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any


def joint_keys(keys: Sequence[str], cells: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The smallest groups of keys that can be found of which the cells are the product.

    A grid without ``zip``, ``sobol`` and ``when`` has one key in each group.

    Args:
        keys: The keys.
        cells: The distinct cells: the label of each key; None where a key does not vary.
    """
    rows = [{key: json.dumps(cell.get(key), default=str) for key in keys} for cell in cells]
    groups = [[key] for key in keys]
    if math.prod(len(_labels(rows, group)) for group in groups) == len(rows):
        return groups
    for one, other in combinations(keys, 2):
        pairs = len(_labels(rows, [one, other]))
        if pairs < len(_labels(rows, [one])) * len(_labels(rows, [other])):
            groups = _merged(groups, one, other)
    if math.prod(len(_labels(rows, group)) for group in groups) == len(rows):
        return groups
    return [list(keys)] if keys else []


def _labels(rows: Sequence[Mapping[str, str]], keys: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(row[key] for key in keys) for row in rows}


def _merged(groups: list[list[str]], one: str, other: str) -> list[list[str]]:
    """The groups, with those of two keys as one, at the place of the first."""
    found = [group for group in groups if one in group or other in group]
    joint = [key for group in found for key in group]
    place = groups.index(found[0])
    rest = [group for group in groups if group not in found]
    return [*rest[:place], joint, *rest[place:]]
