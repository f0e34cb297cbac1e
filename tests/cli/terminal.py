"""Commands called in this process, as in a terminal of a given width."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from unittest import mock

from rich.cells import cell_len

from ablab.cli.main import main

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shown:
    """What a command has shown in a terminal.

    Attributes:
        code: The exit code.
        lines: The lines, without control sequences; a line that changes counts each time.
    """

    def __init__(self, code: int, written: bytes) -> None:
        self.code = code
        text = written.decode("utf-8").replace("\r\n", "\n")
        self.lines = [line for each in text.split("\n") for line in _overwritten(each)]

    @property
    def text(self) -> str:
        """All lines in one, separated by single spaces."""
        return " ".join(" ".join(self.lines).split())

    @property
    def widest(self) -> int:
        """The width of the widest line, in columns."""
        return max(map(cell_len, self.lines))


def _overwritten(line: str) -> list[str]:
    return [_CONTROL.sub("", each).rstrip() for each in line.split("\r")]


def in_terminal(columns: int, *arguments: str) -> Shown:
    """Runs ``ablab`` with the arguments in a pseudo-terminal."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    parts: list[bytes] = []
    listener = threading.Thread(target=_listen, args=(reader, parts))
    listener.start()
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    code = 0
    with (
        os.fdopen(writer, "w", encoding="utf-8") as terminal,
        mock.patch.dict(os.environ, environment | {"TERM": "xterm-256color"}, clear=True),
        mock.patch.object(sys, "argv", ["ablab", *arguments]),
        contextlib.redirect_stdout(terminal),
        contextlib.redirect_stderr(terminal),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    listener.join()
    os.close(reader)
    return Shown(code, b"".join(parts))


def _listen(reader: int, parts: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # raised at the end on Linux
        while part := os.read(reader, 65536):
            parts.append(part)
