"""Commands called in this process, as a shell would call them."""

import contextlib
import io
import signal
import sys
from unittest import mock

from ablab.cli.main import main
from ablab.execute import status


def run_command(*arguments: str) -> tuple[int, str, str]:
    """Runs ``ablab`` with the arguments; returns its exit code, standard output and error."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            mock.patch.object(sys, "argv", ["ablab", *arguments]),
            mock.patch.object(status, "_FIRST_SECONDS", 600.0),  # other tests slow the machine down
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code, out.getvalue(), err.getvalue()
