"""An entry's notes: the user's own words, which a rewrite never touches.

They stand in ``entry.md`` between two comment lines, and may be edited there. Whatever stands
between them when the entry is written again is kept as it is, byte for byte. The second line counts
the notes that came by ``ablab note``, so that each of those is put there once.
"""

import re
from collections.abc import Sequence
from pathlib import Path

BEGIN = "<!-- Notes: yours. What stands between this line and the next such is kept as it is. -->"
_END = re.compile(r"<!-- End of the notes(?:; (\d+) by ablab note)?\. -->")
_HEADING = re.compile(r"^## Notes[ \t]*\r?\n", re.MULTILINE)
_NEXT = re.compile(r"^## ", re.MULTILINE)

Note = tuple[str, str]  # when, and the text


def end_line(count: int) -> str:
    """The line after the notes, of which so many came by ``ablab note``."""
    return f"<!-- End of the notes; {count} by ablab note. -->"


def entry_notes(entry: Path, stored: Sequence[Note]) -> str:
    """The notes of an entry: those in its file, and the store's that are not there yet.

    Args:
        entry: The ``entry.md``, which may not be there.
        stored: All notes of the store, the oldest first.
    """
    text = _read(entry)
    notes, count = (None, 0) if text is None else _split(text)
    if notes is None:
        notes, count = "", 0
    for when, words in stored[count:]:
        notes = _with_note(notes, when, words)
    return notes


def put_notes(text: str, notes: str, count: int = 0) -> str:
    """The text of an ``entry.md`` with these notes in the place of its own.

    Args:
        text: The entry.
        notes: The notes.
        count: How many of them came by ``ablab note``.
    """
    begin, end = text.find(BEGIN), _last_end(text)
    assert begin >= 0 and end is not None, "an entry has a place for notes"
    return f"{text[: begin + len(BEGIN)]}\n{notes}{end_line(count)}{text[end.end() :]}"


def read_notes(entry: Path) -> str | None:
    """The notes as they stand in an ``entry.md``; None where there are none."""
    text = _read(entry)
    return None if text is None else _split(text)[0]


def _split(text: str) -> tuple[str | None, int]:
    """The notes in an entry's text, and how many of them came by ``ablab note``.

    Where the comment lines were taken out, what stands under the heading ``Notes`` counts, and all
    of the store's are taken to be there.
    """
    begin, end = text.find(BEGIN), _last_end(text)
    if begin >= 0 and end is not None and end.start() > begin:
        notes = text[begin + len(BEGIN) : end.start()]
        return notes.removeprefix("\r\n").removeprefix("\n"), int(end[1] or 0)
    heading = _HEADING.search(text)
    if heading is None:
        return None, 0
    rest = _END.sub("", text[heading.end() :].replace(BEGIN, ""))
    following = _NEXT.search(rest)
    return (rest[: following.start()] if following else rest), 10**9


def _with_note(notes: str, when: str, text: str) -> str:
    """The notes with one more at their end, a paragraph with its time."""
    if notes and not notes.endswith("\n"):
        notes += "\n"
    if notes.strip() and not notes.endswith("\n\n"):
        notes += "\n"
    return f"{notes}**{when[:16].replace('T', ' ')} UTC.** {text}\n\n"


def _read(entry: Path) -> str | None:
    try:
        return entry.read_bytes().decode("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _last_end(text: str) -> re.Match[str] | None:
    found = None
    for found in _END.finditer(text):  # noqa: B007 (the last one counts)
        pass
    return found
