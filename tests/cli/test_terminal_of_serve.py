"""``ablab serve`` in a terminal of 80 and of 120 columns: its lines, a page, Ctrl-C."""

import contextlib
import os
import select
import struct
import subprocess
import sys
import time
import urllib.request

import pytest

fcntl = pytest.importorskip("fcntl", reason="there are no pseudo-terminals on this system")
pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")
termios = pytest.importorskip("termios", reason="there are no pseudo-terminals on this system")

SECONDS = 120.0  # at the most, until it shows something, on a busy machine

# Makes the terminal the controlling one, so that Ctrl-C typed into it interrupts the command.
_IN_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "ablab", "serve", "--port", "0", *sys.argv[1:]])
"""


class Terminal:
    """``ablab serve`` with the arguments in a terminal of its own."""

    def __init__(self, columns: int, *arguments: str) -> None:
        self.keyboard, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_ITS_TERMINAL, *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            env=environment | {"TERM": "xterm-256color"},
        )
        os.close(inner)
        self.shown = ""

    def read_until(self, text: str | None) -> None:
        """Reads until the text was shown; None: until the command has ended."""
        last = time.monotonic() + SECONDS
        with contextlib.suppress(OSError):  # raised at the end on Linux
            while text is None or text not in self.shown:
                left = max(0.0, last - time.monotonic())
                ready, _, _ = select.select([self.keyboard], [], [], left)
                assert ready, f"{text or 'its end'} was not shown in {SECONDS} s: {self.shown}"
                part = os.read(self.keyboard, 65536)
                if not part:
                    break
                self.shown += part.decode("utf-8")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.keyboard)


@pytest.mark.parametrize("columns", [80, 120])
def test_it_says_where_the_page_is_until_control_c_is_typed(columns, tmp_path):
    store = tmp_path / "größer"
    terminal = Terminal(columns, "--store", str(store))
    try:
        terminal.read_until("Ctrl-C to stop")
        url = next(each for each in terminal.shown.split() if each.startswith("http://"))
        with urllib.request.urlopen(url) as answer:
            assert "There is no store here yet" in answer.read().decode()
        os.write(terminal.keyboard, b"\x03")
        terminal.read_until(None)
        assert terminal.process.wait(timeout=30) == 0
    finally:
        terminal.close()
    lines = terminal.shown.replace("\r\n", "\n").split("\n")
    assert all(len(line) <= columns or str(store) in line for line in lines), lines
    assert "Traceback" not in terminal.shown and "Warning" not in terminal.shown


@pytest.mark.parametrize("columns", [80, 120])
def test_an_address_that_cannot_be_used_is_said_within_the_width(columns, tmp_path):
    terminal = Terminal(columns, "--host", "no.such.host.invalid", "--store", str(tmp_path))
    try:
        terminal.read_until(None)
        assert terminal.process.wait(timeout=30) == 2
    finally:
        terminal.close()
    assert "cannot listen on no.such.host.invalid" in " ".join(terminal.shown.split())
    assert all(len(line) <= columns for line in terminal.shown.replace("\r", "").split("\n"))
    assert "Traceback" not in terminal.shown
