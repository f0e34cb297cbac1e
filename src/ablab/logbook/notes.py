"""An entry's notes: the user's own words, which a rewrite never touches.

They stand in ``entry.md`` between two comment lines, and may be edited there. Whatever stands
between them when the entry is written again is kept as it is, byte for byte.
"""

import re
from collections.abc import Sequence
from pathlib import Path

BEGIN = "<!-- Notes: yours. What stands between this line and the next such is kept as it is. -->"
END = "<!-- End of the notes. -->"
_HEADING = re.compile(r"^## Notes[ \t]*\r?\n", re.MULTILINE)
_NEXT = re.compile(r"^## ", re.MULTILINE)


def read_notes(entry: Path) -> str | None:
    """The notes in an ``entry.md``; None where there is no such file, or no notes in it.

    Where the comment lines were taken out, what stands under the heading ``Notes`` counts.
    """
    try:
        text = entry.read_bytes().decode("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    begin, end = text.find(BEGIN), text.rfind(END)
    if begin >= 0 and end > begin:
        return text[begin + len(BEGIN) : end].removeprefix("\r\n").removeprefix("\n")
    heading = _HEADING.search(text)
    if heading is None:
        return None
    rest = text[heading.end() :].replace(BEGIN, "").replace(END, "")
    following = _NEXT.search(rest)
    return rest[: following.start()] if following else rest


def first_notes(notes: Sequence[tuple[str, str]]) -> str:
    """Notes as they first stand in an entry."""
    return "".join(f"{one_note(when, text)}\n" for when, text in notes)


def one_note(when: str, text: str) -> str:
    """A note with its time, as a paragraph of its own."""
    return f"**{when[:16].replace('T', ' ')} UTC.** {text}\n"


def with_note(notes: str, when: str, text: str) -> str:
    """The notes with one more at their end."""
    if notes and not notes.endswith("\n"):
        notes += "\n"
    if notes.strip() and not notes.endswith("\n\n"):
        notes += "\n"
    return notes + one_note(when, text) + "\n"


def put_notes(entry: str, notes: str) -> str:
    """The text of an ``entry.md`` with these notes in it."""
    begin, end = entry.find(BEGIN), entry.rfind(END)
    if begin >= 0 and end > begin:
        return f"{entry[: begin + len(BEGIN)]}\n{notes}{entry[end:]}"
    heading = _HEADING.search(entry)
    if heading is None:
        return f"{entry}\n## Notes\n\n{BEGIN}\n{notes}{END}\n"
    rest = entry[heading.end() :]
    following = _NEXT.search(rest)
    after = rest[following.start() :] if following else ""
    return f"{entry[: heading.end()]}\n{BEGIN}\n{notes}{END}\n\n{after}"
