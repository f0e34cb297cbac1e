"""What the docstring of a class says about the class and its attributes, in the words of JSON."""

import inspect
import re
from typing import Any

_SECTION = "Attributes:"
_ENTRY = re.compile(r"    (\w+): (.*)")


def attribute_descriptions(cls: type) -> dict[str, str]:
    """The description of each attribute in the docstring of a class (Google style)."""
    _, _, section = inspect.cleandoc(cls.__doc__ or "").partition(_SECTION)
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry is not None:
            name, found[entry[1]] = entry[1], entry[2]
        elif line.startswith(" " * 8) and name:
            found[name] += " " + line.strip()
    return {name: in_json(text) for name, text in found.items()}


def description(thing: Any) -> str:
    """What the docstring of a class or a function says before the sections, as one paragraph."""
    text = inspect.cleandoc(thing.__doc__ or "")
    return in_json(re.split(r"\n\n(?:Attributes|Args|Returns|Raises):\n", text)[0])


def in_json(text: str) -> str:
    """A text of a docstring as a reader of JSON needs it: ``None`` is null there."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r"(^|\.\s+)None\b", r"\1Null", text)
    return re.sub(r"\s+", " ", re.sub(r"\bNone\b", "null", text)).strip()
