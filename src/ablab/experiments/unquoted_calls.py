"""Sweeps in the flow style of YAML: ``{train.lr: geomspace(1e-4, 1e-2, 8)}``.

YAML ends a value at a comma there, so that this would be three keys. Where that happened, the calls
are read as if they had been quoted. A text in which it did not happen is read as it is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ruamel.yaml.error import MarkedYAMLError

_CALL = re.compile(r"""([:\[,{]\s*)(\w+\([^()\[\]{}"'#\n]*\))(?=\s*[,}\]])""")
_OPEN = re.compile(r"\w+\([^()]*")


def load_calls(text: str, load: Callable[[str], Any]) -> Any:
    """The tree of a YAML text, with calls in flow style as values.

    Args:
        text: The text.
        load: Loads YAML.

    Raises:
        MarkedYAMLError: The text is not valid YAML.
    """
    quoted = _CALL.sub(r'\1"\2"', text)
    if quoted == text:
        return load(text)
    try:
        tree = load(text)
    except MarkedYAMLError:  # two calls with an equal argument, which is a key twice
        return load(quoted)
    return load(quoted) if _has_open_call(tree) else tree


def _has_open_call(node: Any) -> bool:
    """Whether a value is the beginning of a call."""
    if isinstance(node, Mapping):
        return any(_has_open_call(value) for value in node.values())
    if isinstance(node, list):
        return any(_has_open_call(value) for value in node)
    return isinstance(node, str) and _OPEN.fullmatch(node) is not None
