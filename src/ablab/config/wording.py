"""Small helpers for the wording of messages."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, singular or plural: ``1 run``, ``2 runs``.

    Args:
        number: The count; thousands are separated by commas.
        noun: The singular.
        plural: The plural; the singular plus ``s`` by default.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
