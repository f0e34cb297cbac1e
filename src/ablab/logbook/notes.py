"""An entry's notes: the user's own text, which rewriting the entry never changes.

The conclusions of a comparison, in ``compare.md``, are kept in the same way.

The notes are in ``entry.md`` between two comment lines, where users may edit them. When the entry
is rewritten, the text between these lines is preserved byte for byte. The second line counts the
notes added by ``ablab note``, so that each of them is inserted only once.
"""

import re
from collections.abc import Sequence
from pathlib import Path

BEGIN = "<!-- Your notes. The text between this line and the end of the notes is never changed. -->"
_EARLIER = (  # what earlier releases wrote instead
    "<!-- Notes: yours. What stands between this line and the next such is kept as it is. -->"
)
_BEGIN = re.compile(f"{re.escape(BEGIN)}|{re.escape(_EARLIER)}")
_END = re.compile(r"<!-- End of the notes(?:; (\d+) by ablab note)?\. -->")
_HEADING = re.compile(r"^## (?:Notes|Conclusions)[ \t]*\r?\n", re.MULTILINE)
_NEXT = re.compile(r"^## ", re.MULTILINE)

Note = tuple[str, str]  # (time, text)


def end_line(count: int) -> str:
    """The line after the notes, with the number of notes added by ``ablab note``."""
    return f"<!-- End of the notes; {count} by ablab note. -->"


def entry_notes(entry: Path | None, stored: Sequence[Note]) -> str:
    """The notes of an entry: those in its file, plus stored notes that are not in it yet.

    Args:
        entry: The path of ``entry.md``, which need not exist; None for a new entry.
        stored: All stored notes, oldest first.
    """
    text = None if entry is None else _read(entry)
    notes, count = (None, 0) if text is None else _split(text)
    if notes is None:
        notes, count = "", 0
    for when, words in stored[count:]:
        notes = with_note(notes, when, words)
    return notes


def _split(text: str) -> tuple[str | None, int]:
    """The notes in an entry's text, and the number of notes added by ``ablab note``.

    If the comment lines were removed, the notes are the text under the heading ``Notes``, and all
    stored notes are assumed to be in it.
    """
    begin, end = _BEGIN.search(text), _last_end(text)
    if begin is not None and end is not None and end.start() > begin.start():
        notes = text[begin.end() : end.start()]
        return notes.removeprefix("\r\n").removeprefix("\n"), int(end[1] or 0)
    heading = _HEADING.search(text)
    if heading is None:
        return None, 0
    rest = _END.sub("", _BEGIN.sub("", text[heading.end() :]))
    following = _NEXT.search(rest)
    return (rest[: following.start()] if following else rest), 10**9


def with_note(notes: str, when: str, text: str) -> str:
    """The notes with another one appended, as a paragraph with its time."""
    if notes and not notes.endswith("\n"):
        notes += "\n"
    if notes.strip() and not notes.endswith("\n\n"):
        notes += "\n"
    return f"{notes}**{when[:16].replace('T', ' ')} UTC.** {text}\n\n"


def _read(entry: Path) -> str | None:
    try:
        return entry.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def notes_are_whole(entry: Path) -> bool:
    """Whether an ``entry.md``, if there is one, is text with notes that rewriting preserves."""
    try:
        return _split(entry.read_bytes().decode("utf-8"))[0] is not None
    except FileNotFoundError:
        return True
    except UnicodeDecodeError:
        return False


def _last_end(text: str) -> re.Match[str] | None:
    found = None
    for found in _END.finditer(text):  # noqa: B007 (the last one counts)
        pass
    return found
