"""Names chosen by shell-style patterns."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ablab.config.errors import InputError, Problem, nearest


def match_names(patterns: Iterable[str], names: Sequence[str], nothing: str) -> list[str]:
    """The ``names`` that any of the patterns matches, in their own order.

    Args:
        patterns: Names or shell-style patterns (``blocks.*.attn.q``).
        names: What there is.
        nothing: What to say of a pattern that matches none; ``{}`` stands for the pattern.

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
