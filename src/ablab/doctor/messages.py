"""How evidence is written."""

from collections.abc import Iterable


def listed(items: Iterable[object], most: int = 6, between: str = ", ") -> str:
    """The first few items, and how many there are beyond them."""
    texts = [str(item) for item in items]
    rest = len(texts) - most
    return between.join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def share(part: int, whole: int) -> str:
    """``35 of 1,743 (2.0%)``."""
    return f"{part:,} of {whole:,} ({100 * part / whole:.3g}%)"
