"""Sweeps in the flow style of YAML: ``{train.lr: geomspace(1e-4, 1e-2, 8)}``.

YAML ends a value at a comma there, so that this would be three keys. Where a value in flow style is
the beginning of a call, the call is read as if it had been quoted. All else is read as it is.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.tokens import (
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
)

_CALL = re.compile(r"""\w+\([^()\[\]{}"'#]*\)(?=(?:\s+\#[^\n]*+)*+\s*[,}\]])""")
_OPEN = re.compile(r"\w+\([^()]*")


def load_calls(text: str, load: Callable[[str], Any]) -> Any:
    """The tree of a YAML text, with calls in flow style as values.

    Args:
        text: The text.
        load: Loads YAML.

    Raises:
        MarkedYAMLError: The text is not valid YAML.
    """
    if _CALL.search(text) is None:
        return load(text)
    parts, end = [], 0
    try:
        for first, last in _calls(text):
            parts += [text[end:first], f'"{text[first:last]}"']
            end = last
    except MarkedYAMLError:
        return load(text)  # which says what is wrong
    return load("".join([*parts, text[end:]]))


def _calls(text: str) -> Iterator[tuple[int, int]]:
    """Where calls begin and end that YAML would divide at their commas."""
    depth = 0
    for token in YAML(typ="safe", pure=True).scan(text):
        if isinstance(token, FlowMappingStartToken | FlowSequenceStartToken):
            depth += 1
        elif isinstance(token, FlowMappingEndToken | FlowSequenceEndToken):
            depth -= 1
        elif depth and isinstance(token, ScalarToken) and token.plain:
            first = token.start_mark.index
            call = _CALL.match(text, first)
            written = text[first : token.end_mark.index]
            if call and _OPEN.fullmatch(token.value) and written.split() == token.value.split():
                yield first, call.end()
