"""Errors that a user can act on: what is wrong, where, what was given, what was expected."""

import difflib
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_GIVEN = object()
_LONG_WORD = 200  # characters
_NEAREST_LENGTH = 200  # of a name that can be meant; comparing longer ones takes long


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name in ``names`` that is most similar to ``name``, or None if none is similar."""
    if len(name) > _NEAREST_LENGTH:
        return None
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def is_file(path: Path) -> bool:
    """Whether a path is a file; also False if the path is invalid (too long, for example)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Problem:
    """One problem with the user's input.

    Attributes:
        message: What is wrong, as a sentence without a period.
        key: The dotted key of the setting (``model.n_heads``), if the problem is about one.
        source: Where the input came from: ``grid.yaml, line 4`` or ``override 'model.n_head=4'``.
        given: The value that was given; ``NOT_GIVEN`` if there is none.
        expected: What would have been valid.
        suggestion: The nearest valid name.
        lines: Lines of code that would make it valid.
    """

    message: str
    key: str | None = None
    source: str | None = None
    given: Any = NOT_GIVEN
    expected: str | None = None
    suggestion: str | None = None
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [shortened(self.message)]
        if self.source is not None:
            lines.append(f"  in        {shortened(self.source)}")
        if self.given is not NOT_GIVEN:
            lines.append(f"  given     {_show(self.given)}")
        if self.expected is not None:
            lines.append(f"  expected  {self.expected}")
        if self.suggestion is not None:
            lines.append(f"  did you mean {self.suggestion}?")
        if self.lines:
            lines += ["  add", *(f"      {line}" for line in self.lines)]
        return "\n".join(lines)


class InputError(ValueError):
    """Invalid input from the user; commands print it and exit with code 2.

    Has a list of :class:`Problem`, so that all problems of an experiment are reported at once.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = [Problem(p) if isinstance(p, str) else p for p in problems]
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shortened(text: str) -> str:
    """The text, in which words of excessive length are cut off."""
    return re.sub(rf"\S{{{_LONG_WORD},}}", lambda word: f"{word[0][:_LONG_WORD]} …", text)


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else text[:200] + " …"


def check_path(path: Path) -> None:
    """Rejects a path that cannot be looked up, whether or not there is something.

    Raises:
        InputError: It is too long or invalid, or a folder does not allow it.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            Problem(f"cannot look up this path ({reason})", given=str(path))
        ) from error
