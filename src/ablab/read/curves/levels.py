"""Natural levels: losses of uniform guessing among k options."""

import math
from collections.abc import Mapping

_MOST = 10  # largest k, if no level declared by the task is near
_DECLARED, _OTHER = 0.025, 0.01  # relative tolerances


def name_level(level: float, declared: Mapping[str, float], column: str) -> str | None:
    """The name of the natural level at a value, or None.

    Levels declared by the task match within 2.5%, log(k) for k from 2 to 10 within 1%.

    Args:
        level: The value, in nats.
        declared: The task's levels, by name.
        column: The column that was read; only losses have natural levels.
    """
    if "loss" not in column:
        return None
    near = [(abs(level / each - 1), name) for name, each in declared.items() if each > 0]
    if near and min(near)[0] <= _DECLARED:
        return min(near)[1]
    others = [(abs(level / math.log(k) - 1), f"log({k})") for k in range(2, _MOST + 1)]
    return min(others)[1] if min(others)[0] <= _OTHER else None
