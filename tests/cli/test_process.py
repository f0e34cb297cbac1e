"""The command as a process of its own, as a shell starts it; all other tests call it in theirs."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from ablab.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["recipes"], 0, "addition", ""),
        (["run", "adition"], 2, "", "did you mean addition?"),
    ],
)
def test_exit_code_and_streams(tmp_path, arguments, code, out, err):
    found = subprocess.run(
        [sys.executable, "-m", "ablab", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"ABLAB_STORE": "lab"},
        check=False,
    )
    assert found.returncode == code
    for text, expected in ((found.stdout, out), (found.stderr, err)):
        assert expected in text
        assert bool(text) == bool(expected), "nothing goes to the other stream"
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_is_the_same():
    (installed,) = {each for each in entry_points(group="console_scripts") if each.name == "ablab"}
    assert installed.load() is main
