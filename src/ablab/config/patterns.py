"""Selecting names by shell-style patterns."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ablab.config.errors import InputError, Problem, nearest


def match_names(patterns: Iterable[str], names: Sequence[str], nothing: str) -> list[str]:
    """The ``names`` that match any of the patterns, in their original order.

    Args:
        patterns: Names or shell-style patterns (``blocks.*.attn.q``).
        names: All available names.
        nothing: The message for a pattern without a match; ``{}`` is replaced by the pattern.

    Raises:
        InputError: A pattern matches none of the names.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise InputError(
                Problem(
                    nothing.format(repr(pattern)),
                    given=pattern,
                    expected="one of " + ", ".join(names),
                    suggestion=nearest(pattern, names),
                )
            )
        chosen |= found
    return [name for name in names if name in chosen]
