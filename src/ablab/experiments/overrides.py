"""Overrides in Hydra's grammar: ``train.lr=1e-3`` sets a value, ``model.d_model=8,16`` an axis.

Hydra is imported when a text is parsed: most commands only read what is stored, and importing it
would take a third of their time.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments import sweeps
from ablab.experiments.limits import check_axis, check_depth, range_length

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override as HydraOverride
    from hydra.core.override_parser.types import RangeSweep

_WORDS = ("null", "true", "false", "nan", "inf")  # have a special meaning unless quoted
_FUNCTIONS = (*sweeps.KINDS, "range", "choice")  # that make an axis
_SAME = 1e-12  # relative; rounding errors are smaller
_SHOWN = 200  # characters of an override in a message


@dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
        text: The override as written.
        key: The dotted key.
        value: The value; for an axis, the list of its values or a sweep.
        is_axis: Whether the override adds an axis.
        origin: The source of its value, if it was not written as an override.
    """

    text: str
    key: str
    value: Any
    is_axis: bool
    origin: str | None = None

    @property
    def source(self) -> str:
        """The source of its value, for errors."""
        return self.origin or f"override {_short(self.text)}"


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Parses overrides.

    Raises:
        InputError: An override does not follow Hydra's grammar, adds or deletes (``+``, ``~``),
            uses a package or a sweep without a finite list of values, or repeats a key.
    """
    if not texts:
        return []
    from hydra.errors import HydraException

    parser = _parser()
    result: list[Override] = []
    keys: set[str] = set()
    for text in texts:
        try:
            parsed = parser.parse_override(text)
        except (HydraException, ValueError, RecursionError) as error:
            nested = isinstance(error, RecursionError)
            reason = "nested too deeply" if nested else str(error).splitlines()[0]
            raise InputError(
                Problem(
                    f"cannot parse the override {_short(text)}: {_short(reason, plain=True)}",
                    given=text,
                    expected="key=value, or key=a,b,c for an axis of the grid; quote values with "
                    "special characters: 'key=\"…\"'",
                    suggestion=_nearest_sweep(text),
                )
            ) from error
        result.append(_override(text, parsed))
        key = result[-1].key
        check_depth([result[-1].value, key.split(".")], result[-1].source)
        if key in keys:
            raise InputError(
                Problem(
                    f"{key} is overridden twice",
                    key=key,
                    given=" ".join(texts),
                )
            )
        keys.add(key)
    return result


def parse_values(text: str, key: str, source: str | None) -> Any:
    """The values of an axis that is given as text, such as ``geomspace(1e-4, 1e-2, 8)``.

    Returns:
        A sweep, or the list of the values of ``range()`` and ``choice()``. A text that is no
        function's call is returned as it is.

    Raises:
        InputError: There is no such function, or its call cannot be parsed.
    """
    call = re.fullmatch(r"\s*(\w+)\s*\(.*\)\s*", text, re.DOTALL)
    if call is None:
        return text
    expected = f"a list, or one of {', '.join(f'{name}(…)' for name in _FUNCTIONS)}"
    if call[1] not in _FUNCTIONS:
        problem = f"the axis {key}: there is no sweep {_short(call[1], plain=True)}"
        if call[1] == "sobol":
            expected = "a block of the grid: sobol: {n: 16, over: {key: uniform(lo, hi), …}}"
        given, name = _short(text, plain=True), nearest(call[1], _FUNCTIONS)
        raise InputError(Problem(problem, key, source, given, expected, name))
    try:
        (override,) = parse_overrides([f"value={text.strip()}"])
    except InputError as error:
        problem = f"the axis {key} cannot be parsed"
        raise InputError(
            Problem(problem, key, source, _short(text, plain=True), expected)
        ) from error
    return override.value


def _nearest_sweep(text: str) -> str | None:
    """The function of a sweep whose name an override probably misspells."""
    call = re.match(r"[^=]*=\s*(\w+)\s*\(", text)
    return nearest(call[1], _FUNCTIONS) if call and call[1] not in _FUNCTIONS else None


def _parser() -> "OverridesParser":
    """Hydra's parser with the functions of sweeps."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    for kind in sweeps.KINDS:
        parser.functions.register(kind, partial(_sweep, kind))
    return parser


def _sweep(kind: str, *arguments: Any, **named: Any) -> sweeps.Sweep:
    return sweeps.Sweep(kind, arguments, tuple(named.items()))


def _override(text: str, parsed: "HydraOverride") -> Override:
    from hydra.core.override_parser.types import (
        ChoiceSweep,
        Glob,
        OverrideType,
        RangeSweep,
        Sweep,
    )

    if parsed.type is not OverrideType.CHANGE or parsed.package is not None:
        raise InputError(
            Problem(
                f"unsupported override {text!r}",
                given=text,
                expected="key=value; settings cannot be added or deleted, since all have defaults",
            )
        )
    key = parsed.key_or_group.replace("/", ".")
    if not key:
        raise InputError(Problem(f"the override {text!r} has no key", given=text))
    sweep = parsed.value()
    if isinstance(sweep, sweeps.Sweep):
        return Override(text, key, sweep, is_axis=True)
    if not isinstance(sweep, Sweep | Glob):
        return Override(text, key, _value(sweep), is_axis=False)
    if not isinstance(sweep, ChoiceSweep | RangeSweep):
        raise _no_axis(text)
    if isinstance(sweep, RangeSweep):
        _check_length(key, text, sweep)
        numbers = parsed.sweep_iterator(transformer=_identity)  # in another order if shuffled
        values = [_without_error(_value(each), sweep) for each in numbers]
        return Override(text, key, values, is_axis=True)
    values = []
    for each in parsed.sweep_iterator(transformer=_identity):
        if isinstance(each, RangeSweep):
            _check_length(key, text, each)
            values += [_without_error(_value(number), each) for number in each.range()]
        elif isinstance(each, Sweep | Glob):
            raise _no_axis(text)
        else:
            values.append(_value(each))
    return Override(text, key, values, is_axis=True)


def _no_axis(text: str) -> InputError:
    expected = "a,b,c, choice(a,b,c) or range(start,stop,step)"
    return InputError(Problem(f"cannot make an axis of {text!r}", given=text, expected=expected))


def _check_length(key: str, text: str, sweep: "RangeSweep") -> None:
    """Rejects a range that is too long, before it is expanded."""
    length = range_length(sweep.start, sweep.stop, sweep.step)
    check_axis(key, length, f"override {_short(text)}", text)


def _short(text: str, plain: bool = False) -> str:
    """A text for a message, in quotes unless ``plain``; long ones are cut off."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
    return cut if plain else repr(cut)


def _without_error(value: Any, sweep: "RangeSweep") -> Any:
    """A value of a range without the rounding error of its sum: 0.3 for 0.1 + 0.1 + 0.1."""
    if not isinstance(value, float):
        return value
    largest = max(abs(float(each)) for each in (sweep.start, sweep.stop) if each is not None)
    return 0.0 if abs(value) < _SAME * largest else float(f"{value:.12g}")


def _identity(value: Any) -> Any:
    return value


def _value(value: Any) -> Any:
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {str(_value(key)): _value(item) for key, item in value.items()}
    return value


def as_override(key: str, value: Any) -> str:
    """An override, in Hydra's grammar, that sets a key to a value."""
    if value is None or isinstance(value, bool):
        return f"{key}={str(value).lower().replace('none', 'null')}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    plain = re.fullmatch(r"[A-Za-z][\w.+/-]*", text) and text.lower() not in _WORDS
    if not isinstance(value, str) or plain:
        return f"{key}={text}"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'
