"""Notes as a user's editor reads and writes them: what is between two comment lines."""

from pathlib import Path

from ablab.logbook.notes import BEGIN

_END = "<!-- End of the notes"


def read_notes(path: Path) -> str:
    """The notes in a file, byte for byte."""
    text = path.read_bytes().decode()
    begin = text.index(BEGIN) + len(BEGIN)
    return text[begin : text.rindex(_END)].removeprefix("\n")


def put_notes(path: Path, notes: str) -> None:
    """Replaces the notes in a file."""
    text = path.read_bytes().decode()
    begin = text.index(BEGIN) + len(BEGIN)
    path.write_bytes(f"{text[:begin]}\n{notes}{text[text.rindex(_END) :]}".encode())
