"""Levels with a meaning: the loss of guessing among so many."""

import math
from collections.abc import Mapping

_MOST = 10  # among how many one may guess, where the task declares no levels of its own
_DECLARED, _OTHER = 0.025, 0.01  # how far off a level may be, as a share of it


def name_level(level: float, declared: Mapping[str, float], column: str) -> str | None:
    """The natural level that a value is at: the task's own within 2.5%, log(k) within 1%.

    Args:
        level: The value.
        declared: The task's levels, by name.
        column: What was read; only losses have natural levels.
    """
    if "loss" not in column:
        return None
    near = [(abs(level / each - 1), name) for name, each in declared.items() if each > 0]
    if near and min(near)[0] <= _DECLARED:
        return min(near)[1]
    others = [(abs(level / math.log(k) - 1), f"log({k})") for k in range(2, _MOST + 1)]
    return min(others)[1] if min(others)[0] <= _OTHER else None
