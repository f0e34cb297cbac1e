"""The values that a sweep stands for: the same for everyone, on every machine.

Values that are not exact are rounded to 4 significant digits, so that the last bits of a logarithm,
which differ between machines, enter neither names nor ids. Random numbers are digests of the name
of the experiment, the key and a counter: NumPy's generators may change between releases (NEP 19).
"""

import bisect
import hashlib
import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ablab.experiments.sweeps import DRAWN, Bounds

_DIGITS = 4  # significant ones, of values that are not exact in 8
_EXACT = 8
_MOST = 17  # digits that tell all numbers of double precision apart
_SAME = 1e-12  # relative; rounding errors are smaller
_BITS = 30  # of a coordinate of a Sobol sequence
_TRIES = 50  # repeated draws in a row, before the values are taken to be too few

_TOO_NARROW = "the range has fewer numbers than that"

Number = int | float


def sweep_values(
    bounds: Bounds, name: str, key: str, whole: bool, paired: bool = False
) -> list[Number]:
    """The values of a sweep, in increasing order and without repetitions.

    There are ``n`` of them, except where fewer whole numbers are in the range.

    Args:
        bounds: The checked sweep.
        name: The name of the experiment, from which random values are drawn.
        key: The key of the axis, likewise.
        whole: Whether the values are whole numbers.
        paired: Whether they are paired with those of other keys: drawn values are in the order in
            which they were drawn then, and repetitions stay.

    Raises:
        ValueError: There are fewer numbers of double precision in the range.
    """
    assert bounds.n is not None, "checked with n"
    if bounds.kind in DRAWN and paired:
        shares = itertools.islice(uniform_shares(name, key), bounds.n)
        return [at_share(bounds, share, whole) for share in shares]
    if bounds.kind in DRAWN:
        return _drawn(bounds, name, key, whole)
    space = np.geomspace if bounds.is_logarithmic else np.linspace
    exact = [float(each) for each in space(float(bounds.low), float(bounds.high), bounds.n)]
    exact[0] = bounds.low
    if bounds.n > 1:
        exact[-1] = bounds.high
    if whole:
        near: list[Number] = [_within(bounds, round(each)) for each in exact]
        return near if paired else sorted(set(near))
    if not bounds.is_logarithmic:  # what is left of a difference is zero
        least = _SAME * max(abs(bounds.low), abs(bounds.high))
        exact[1:-1] = [0.0 if abs(each) < least else each for each in exact[1:-1]]
    for digits in range(_DIGITS, _MOST + 1):  # more digits where values would be equal
        inner = [rounded(each, digits) for each in exact[1:-1]]
        found = [float(exact[0]), *inner, *map(float, exact[1:][-1:])]
        if len(set(found)) == len(found):
            return found
    raise ValueError(_TOO_NARROW)


def rounded(value: float, digits: int = _DIGITS) -> float:
    """A value with few significant digits: with 8 at most if it is exact, else with ``digits``."""
    for count in range(digits, _EXACT + 1):
        short = float(f"{value:.{count}g}")
        if abs(short - value) <= _SAME * abs(value):
            return short
    return float(f"{value:.{digits}g}")


def sobol_rows(
    n: int,
    over: Mapping[str, Bounds | Sequence[Any]],
    name: str,
    is_whole: Callable[[str], bool],
) -> list[dict[str, Any]]:
    """The first ``n`` points of a Sobol sequence, as values of several settings.

    The sequence (Sobol, 1967, with the direction numbers of Joe and Kuo, 2008, that SciPy has) is
    scrambled by a random digital shift (L'Ecuyer and Lemieux, 2002), which keeps its balance.
    SciPy's own scrambling depends on NumPy's generators.

    Args:
        n: The number of points.
        over: For each setting, a range, or a list of values that are chosen equally often.
        name: The name of the experiment, from which the shift is drawn.
        is_whole: Whether the values of a setting are whole numbers.
    """
    from scipy.stats import qmc  # importing it takes half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers of points that are no power of two
        sequence = qmc.Sobol(len(over), scramble=False, bits=_BITS).random(n)
    integers = np.round(sequence * 2**_BITS).astype(np.int64)
    shifts = [next(_integers(name, f"sobol {key}")) >> (64 - _BITS) for key in over]
    shares = ((integers ^ np.array(shifts, dtype=np.int64)) + 0.5) / 2**_BITS
    return [
        {
            key: at_share(each, float(share), is_whole(key))
            if isinstance(each, Bounds)
            else each[int(share * len(each))]
            for (key, each), share in zip(over.items(), row, strict=True)
        }
        for row in shares
    ]


def _drawn(bounds: Bounds, name: str, key: str, whole: bool) -> list[Number]:
    """Random values, in increasing order.

    A repeated value is replaced by a further draw. Where many in a row are repeated, so many of the
    values are taken that those that follow have one more digit, or are the next whole numbers
    that are left. How many values are wanted does not matter for the first of them.
    """
    assert bounds.n is not None, "checked with n"
    every = range(math.ceil(bounds.low), math.floor(bounds.high) + 1)
    if whole and every.stop - every.start <= bounds.n:  # len() is limited to 64 bits
        return list(every)
    found: set[Number] = set()
    left: list[int] = []
    repeated = more = 0
    for share in uniform_shares(name, key):
        value = at_share(bounds, share, whole, more)
        if left:
            value = left.pop(min(bisect.bisect_left(left, value), len(left) - 1))
        repeated = repeated + 1 if value in found else 0
        found.add(value)
        if len(found) == bounds.n:
            break
        if repeated == _TRIES and whole:
            left = [each for each in every if each not in found]
        elif repeated == _TRIES:
            repeated, more = 0, more + 1
            if more > _MOST:
                raise ValueError(_TOO_NARROW)
    return sorted(found)


def at_share(bounds: Bounds, share: float, whole: bool, more: int = 0) -> Number:
    """The value below which a share of a range lies.

    The range of whole numbers is wider by a half at both ends, so that both ends are as likely as
    the other numbers, as in Optuna.

    Args:
        bounds: The range.
        share: The share.
        whole: Whether the value is a whole number.
        more: How many digits it has beyond the usual ones.
    """
    low, high = float(bounds.low), float(bounds.high)
    if whole:
        low, high = math.ceil(low) - 0.5, math.floor(high) + 0.5
    if bounds.is_logarithmic:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    if whole:
        return _within(bounds, round(value))
    # A range that is narrow, compared with its ends, needs more digits.
    narrow = math.log10(max(abs(low), abs(high)) / (high - low))
    found = rounded(value, min(_MOST, _DIGITS + more + max(0, math.floor(narrow))))
    return min(max(found, low), high)


def _within(bounds: Bounds, value: int) -> int:
    """The nearest whole number within a range."""
    return min(max(value, math.ceil(bounds.low)), math.floor(bounds.high))


def uniform_shares(name: str, key: str) -> Iterator[float]:
    """Random numbers between 0 and 1."""
    for integer in _integers(name, key):
        yield ((integer >> 12) + 0.5) / 2**52


def _integers(name: str, key: str) -> Iterator[int]:
    """Random integers of 64 bits: digests of the name, the key and a counter."""
    counter = 0
    while True:
        text = json.dumps([name, key, counter], ensure_ascii=False)
        yield int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
        counter += 1
