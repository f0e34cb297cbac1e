"""Natural levels: losses of uniform guessing, as the task declares them."""

from collections.abc import Mapping

_NEAR = 0.01  # relative tolerance
_ERRORS = 2.0  # ... or this many standard errors of the level,
_FAR = 0.02  # but at most this


def name_level(level: float, declared: Mapping[str, float], error: float = 0.0) -> str | None:
    """The name of the natural level at a value, or None.

    Args:
        level: The value, in nats.
        declared: The task's levels, by name. Only these have names: with log(k) for every k, one
            in twenty levels would get a name by chance.
        error: The relative standard error of the value.
    """
    near = [(abs(level / each - 1), name) for name, each in declared.items() if each > 0]
    if not near:
        return None
    apart, name = min(near)
    return name if apart <= max(_NEAR, min(_ERRORS * error, _FAR)) else None
