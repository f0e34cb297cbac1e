"""Overrides in Hydra's grammar: ``train.lr=1e-3`` sets a value, ``model.d_model=8,16`` an axis."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    OverrideType,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.core.override_parser.types import (
    Override as HydraOverride,
)
from hydra.errors import HydraException

from ablab.config import InputError, Problem

_WORDS = ("null", "true", "false", "nan", "inf")  # have a special meaning unless quoted


@dataclass(frozen=True)
class Override:
    """One override.

    Attributes:
        text: The override as written.
        key: The dotted key.
        value: The value; for an axis, the list of its values.
        is_axis: Whether the override adds an axis.
    """

    text: str
    key: str
    value: Any
    is_axis: bool

    @property
    def source(self) -> str:
        """The source of its value, for errors."""
        return f"override {self.text!r}"


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Parses overrides.

    Raises:
        InputError: An override does not follow Hydra's grammar, adds or deletes (``+``, ``~``),
            uses a package or a sweep without a finite list of values, or repeats a key.
    """
    parser = OverridesParser.create()
    result: list[Override] = []
    for text in texts:
        try:
            parsed = parser.parse_override(text)
        except (HydraException, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                Problem(
                    f"cannot parse the override {text!r}: {reason}",
                    given=text,
                    expected="key=value, or key=a,b,c for an axis of the grid; quote values with "
                    "special characters: 'key=\"…\"'",
                )
            ) from error
        result.append(_override(text, parsed))
        if [other.key for other in result].count(result[-1].key) > 1:
            raise InputError(
                Problem(
                    f"{result[-1].key} is overridden twice",
                    key=result[-1].key,
                    given=" ".join(texts),
                )
            )
    return result


def _override(text: str, parsed: HydraOverride) -> Override:
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
    if not isinstance(sweep, Sweep | Glob):
        return Override(text, key, _value(sweep), is_axis=False)
    if not isinstance(sweep, ChoiceSweep | RangeSweep):
        raise InputError(
            Problem(
                f"cannot make an axis of {text!r}",
                given=text,
                expected="a,b,c, choice(a,b,c) or range(start,stop,step)",
            )
        )
    values = [_value(value) for value in parsed.sweep_iterator(transformer=_identity)]
    return Override(text, key, values, is_axis=True)


def _identity(value: Any) -> Any:
    return value


def _value(value: Any) -> Any:
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
