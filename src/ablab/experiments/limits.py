"""Limits on the size of an experiment, checked on the sizes alone, before anything is expanded."""

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from ablab.config import InputError, Problem

# One experiment of more runs cannot be listed or compared in a reasonable time. Experiments share
# the runs of a store, so a larger question can be split.
MAX_RUNS = 100_000
MAX_DEPTH = 40  # levels of lists and mappings in each other; no setting needs more than six


def range_length(start: Any, stop: Any, step: Any) -> int | None:
    """The number of values of a range, without making them; None if it has no end.

    Args:
        start: The first value.
        stop: The end, which is excluded.
        step: The difference between neighbours, which may be negative.
    """
    try:
        first, end, width = (Decimal(each) for each in (start, stop, step))
        if not (first.is_finite() and end.is_finite() and width.is_finite()) or width == 0:
            return None
        # Not exact, but close enough for a limit, however many digits there are.
        return max(0, math.ceil((end - first) / width))
    except (InvalidOperation, OverflowError):
        return None


def check_axis(key: str, values: int | None, source: str | None, given: Any) -> None:
    """Rejects an axis that is too long.

    Args:
        key: The axis.
        values: The number of its values; None if it has no end.
        source: Where it was written.
        given: The axis as it was given.

    Raises:
        InputError: The axis has more values than an experiment can have runs.
    """
    if values is not None and values <= MAX_RUNS:
        return
    message = (
        f"the axis {key} is not a finite range"
        if values is None
        else f"the axis {key} has {_count(values)} values"
    )
    raise InputError(
        Problem(message, key, source, given, f"at most {MAX_RUNS:,} runs in an experiment")
    )


def check_runs(
    cells: int, axes: Mapping[str, int], seeds: int, sources: Iterable[str | None]
) -> None:
    """Rejects an experiment that has too many runs.

    Args:
        cells: The number of cells; above :data:`MAX_RUNS`, it need not be exact.
        axes: The number of values of each axis.
        seeds: The number of seeds.
        sources: Where the axes were written.

    Raises:
        InputError: The runs are more than :data:`MAX_RUNS`.
    """
    if cells * seeds <= MAX_RUNS:
        return
    product = math.prod(axes.values())
    runs = _count(product * seeds)
    if cells < product:  # some axes vary in some cells only
        runs = f"more than {MAX_RUNS:,}"
    factors = [f"{key} ({count:,})" for key, count in axes.items()]
    factors += [f"seeds ({seeds:,})"] * (seeds > 1 or not axes)
    where = ", ".join(dict.fromkeys(each for each in sources if each is not None)) or None
    raise InputError(
        Problem(
            f"the experiment has {runs} runs",
            "grid" if axes else "seeds",
            where,
            " × ".join(factors),
            f"at most {MAX_RUNS:,} runs; several experiments in one store share their runs",
        )
    )


def check_depth(value: Any, source: str | None) -> None:
    """Rejects lists and mappings that are nested too deeply to be settings.

    Raises:
        InputError: There are more than :data:`MAX_DEPTH` levels, or a value contains itself.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise InputError(Problem(f"values are nested more than {MAX_DEPTH} levels deep", source=source))


def _inside(value: Any) -> list[Any]:
    """The containers directly inside a container."""
    if isinstance(value, Mapping):
        found: Iterable[Any] = value.values()
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        found = value
    else:
        return []
    kinds = (Mapping, list, tuple)
    unique = {id(each): each for each in found if isinstance(each, kinds)}
    return list(unique.values())


def _count(number: int) -> str:
    return (
        f"{number:,}"
        if number < 10**15
        else f"about {float(number):.0e}"
        if (number < 10**300)
        else "more than 1e+300"
    )
