"""Medians over runs of which some did not get there: one definition for tables and sentences.

A run that did not reach a step counts as later than all others, so its median is a number only if
more than half of the runs got there (of an even number, one more than half).
"""

import math
import statistics
from collections.abc import Callable, Sequence


def median_of(values: Sequence[float], later: int = 0) -> float | None:
    """The median of some values and of runs that are later than all of them.

    Args:
        values: The values that are known.
        later: The number of runs that did not reach the step.

    Returns:
        The median; None if there is none, or if it is not reached.
    """
    known = [*values, *[math.inf] * later]
    found = statistics.median(known) if known else math.inf
    return found if math.isfinite(found) else None


def spread_words(
    values: Sequence[float],
    show: Callable[[float], str],
    later: int = 0,
    bound: float | None = None,
    words: tuple[str, str] = ("not before", "not reached"),
) -> str:
    """The median and the range, such as ``120 [80, 300]`` or ``120 [80, not reached]``.

    Runs that were looked at up to a step before those that are known may not be later than these.
    Then neither the median is known nor, if none of these is before that step, where the range
    begins.

    Args:
        values: The values that are known, at least one unless some are later.
        show: Shows a number.
        later: The number of runs that did not reach the step.
        bound: The last step up to which those were looked at.
        words: What is written before the bound if the median is not reached, and in place of the
            end of the range.
    """
    low = show(min(values)) if values else ""
    if not later:
        high = show(max(values))
        return low if low == high else f"{show(statistics.median(values))} [{low}, {high}]"
    middle = median_of(values, later)
    if bound is not None and values and bound < min(values):
        return f"{words[0]} {show(bound)}"
    if middle is not None and (bound is None or middle <= bound):
        text = show(middle)
    else:
        text = words[1] if bound is None else f"{words[0]} {show(bound)}"
    return f"{text} [{low}, {words[1]}]" if values else text
