"""Small helpers for the wording of messages."""

import re

from rich.cells import cell_len

# Control characters, characters that change the direction of text, and halves of surrogate pairs.
_OTHERS = (
    "\\x0b-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ud800-\\udfff"
)
_CONTROLS = re.compile(rf"[\x00-\x0a{_OTHERS}]")
_CONTROLS_IN_LINES = re.compile(rf"[\x00-\x08{_OTHERS}]")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, singular or plural: ``1 run``, ``2 runs``.

    Args:
        number: The count; thousands are separated by commas.
        noun: The singular.
        plural: The plural; the singular plus ``s`` by default.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def visible(text: str) -> str:
    r"""Text in one line whose control and format characters are shown as escapes (``\x1b``).

    A terminal obeys such characters, and text from a store may be somebody else's.
    """
    return _CONTROLS.sub(_escape, text)


def visible_lines(text: str) -> str:
    """:func:`visible` for text of several lines, which keeps line breaks and tabs."""
    return _CONTROLS_IN_LINES.sub(_escape, text)


def cut(text: str, width: int) -> str:
    """Text whose end is left out, with an ellipsis, if it is wider than ``width`` columns."""
    if cell_len(text) <= width:
        return text
    text = text[:width]  # no character is narrower than a column, apart from those of no width
    while cell_len(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
