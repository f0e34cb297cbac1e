"""Helpers that format evidence."""

from collections.abc import Iterable


def listed(items: Iterable[object], most: int = 6, between: str = ", ") -> str:
    """The first ``most`` items, and the number of further ones."""
    texts = [str(item) for item in items]
    rest = len(texts) - most
    conjunction = " and" if between == ", " else f"{between}and"
    return between.join(texts[:most]) + (f"{conjunction} {rest} more" if rest > 0 else "")


def share(part: int, whole: int) -> str:
    """A count with its percentage: ``35 of 1,743 (2.01%)``."""
    return f"{part:,} of {whole:,} ({100 * part / whole:.3g}%)"
