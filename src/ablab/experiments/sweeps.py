"""Sweeps: the values of a numeric axis as an expression, such as ``geomspace(1e-4, 1e-2, 8)``.

An expression means the same in a file, on the command line and in Python. Which values it stands
for is in :mod:`ablab.experiments.sweep_values`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.limits import MAX_RUNS
from ablab.experiments.plain_numbers import plain_numbers

SPACED = ("geomspace", "linspace")
DRAWN = ("loguniform", "uniform")
KINDS = (*SPACED, *DRAWN)
LOGARITHMIC = ("geomspace", "loguniform")
_NAMES = ("lo", "hi", "n")


@dataclass(frozen=True)
class Sweep:
    """The values of a numeric axis as an expression, as it was written.

    Attributes:
        kind: ``geomspace``, ``linspace``, ``loguniform`` or ``uniform``.
        arguments: What was given by position: ``lo``, ``hi`` and ``n``.
        named: What was given by name.
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(plain_numbers(self.arguments)))
        named = tuple((name, plain_numbers(value)) for name, value in self.named)
        object.__setattr__(self, "named", named)

    def __str__(self) -> str:
        given = [str(each) for each in self.arguments]
        given += [f"{name}={value}" for name, value in self.named]
        return f"{self.kind}({', '.join(given)})"


@dataclass(frozen=True)
class Bounds:
    """The checked arguments of a sweep; ``n`` is None for a range that a Sobol sequence covers."""

    kind: str
    low: int | float
    high: int | float
    n: int | None

    @property
    def is_logarithmic(self) -> bool:
        """Whether the values are spaced, or drawn, evenly in their logarithm."""
        return self.kind in LOGARITHMIC


def geomspace(lo: float, hi: float, n: int) -> Sweep:
    """``n`` values from ``lo`` to ``hi`` with equal factors, both ends included.

    Source: ``numpy.geomspace``, rounded to 4 significant digits unless fewer than 9 are exact.
    """
    return Sweep("geomspace", (lo, hi, n))


def linspace(lo: float, hi: float, n: int) -> Sweep:
    """``n`` evenly spaced values from ``lo`` to ``hi``, both ends included.

    Source: ``numpy.linspace``, rounded to 4 significant digits unless fewer than 9 are exact.
    """
    return Sweep("linspace", (lo, hi, n))


def uniform(lo: float, hi: float, n: int | None = None) -> Sweep:
    """``n`` values drawn uniformly from ``lo`` to ``hi``.

    They depend on the name of the experiment, the key and the arguments only. A larger ``n`` adds
    values to those of a smaller one. Without ``n``, it is a range for :func:`sobol`.
    """
    return Sweep("uniform", (lo, hi) if n is None else (lo, hi, n))


def loguniform(lo: float, hi: float, n: int | None = None) -> Sweep:
    """``n`` values whose logarithms are drawn uniformly; see :func:`uniform`."""
    return Sweep("loguniform", (lo, hi) if n is None else (lo, hi, n))


def sobol(n: int, over: Mapping[str, Any]) -> dict[str, Any]:
    """The first ``n`` points of a Sobol sequence over several settings, for ``grid={"sobol": …}``.

    Args:
        n: The number of points; powers of two are balanced.
        over: For each setting, ``uniform(lo, hi)``, ``loguniform(lo, hi)`` or a list of values.
    """
    return {"n": n, "over": dict(over)}


def check_sweep(sweep: Sweep, key: str, source: str | None, counted: bool = True) -> Bounds:
    """The arguments of a sweep.

    Args:
        sweep: The sweep.
        key: The axis, for errors.
        source: Where it was written.
        counted: Whether it has an ``n``; one within a Sobol sequence has none.

    Raises:
        InputError: An argument is missing, unknown or invalid; the error names the axis, what was
            given and what is expected.
    """

    def wrong(message: str, expected: str) -> InputError:
        return InputError(Problem(f"the axis {key}: {message}", key, source, str(sweep), expected))

    names = _NAMES if counted else _NAMES[:2]
    form = f"{sweep.kind}({', '.join(names)})"
    given = dict(zip(_NAMES, sweep.arguments, strict=False))
    for name, _ in sweep.named:
        if name not in _NAMES:
            raise wrong(f"{sweep.kind} has no argument {name}", form)
    twice = [name for name, _ in sweep.named if name in given]
    given |= dict(sweep.named)
    if len(sweep.arguments) > len(_NAMES) or twice or set(given) != set(names):
        raise wrong(_miscounted(sweep, given, names, twice), form)
    for name in names:
        if not _is_finite(given[name]):
            raise wrong(f"{name} is not a finite number", f"{form} with numbers")
    n = given.get("n")
    if counted and (not isinstance(n, int) or not 1 <= n <= MAX_RUNS):
        raise wrong("n is not a number of values", f"a whole number from 1 to {MAX_RUNS:,}")
    low, high = given["lo"], given["hi"]
    if low >= high:
        raise wrong(f"lo ({low}) is not below hi ({high})", "lo < hi")
    if not math.isfinite(float(high) - float(low)):
        raise wrong("the range from lo to hi is too wide", "hi - lo below 1.8e308")
    if sweep.kind in LOGARITHMIC and low <= 0:
        raise wrong(f"lo ({low}) has no logarithm", f"lo > 0, or {_linear(sweep.kind)}")
    return Bounds(sweep.kind, low, high, n)


def _miscounted(
    sweep: Sweep, given: Mapping[str, Any], names: Sequence[str], twice: Sequence[str]
) -> str:
    """What is wrong with the number of the arguments of a sweep."""
    if "n" in given and "n" not in names:
        return "n belongs to sobol, not to its ranges"
    if twice:
        missing = [f"{name} is missing" for name in names if name not in given]
        return ", ".join([f"{name} is given twice" for name in twice] + missing)
    count = len(sweep.arguments) + len(sweep.named)
    return f"{sweep.kind} has {count} of {len(names)} arguments"


def _linear(kind: str) -> str:
    return "linspace" if kind == "geomspace" else "uniform"


def _is_finite(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
