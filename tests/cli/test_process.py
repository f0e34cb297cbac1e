"""The command as a process of its own, as a shell starts it; all other tests call it in theirs."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest

from ablab.cli.main import main
from ablab.store.findings import record_analyses
from tests.read.filled import fill


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


def test_a_warning_is_a_sentence_and_the_store_can_be_read(tmp_path):
    asked = {"name": "tiny", "task": {"kind": "addition"}, "train": {"steps": 2}, "seeds": 1}
    store, _ = fill(tmp_path / "lab", asked, lambda keys, seed, steps: np.ones(len(steps)))
    record_analyses(store, {"mine": {"directions": {"share": "highr"}}})
    store.close()
    found = subprocess.run(
        [sys.executable, "-m", "ablab", "read", "tiny", "--store", str(tmp_path / "lab")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0 and "seed 0" in found.stdout
    (warning,) = found.stderr.splitlines()
    assert warning == (
        "warning: the record of the analysis 'mine' is damaged, so the ranges and directions of "
        "its scalars are not known; ablab analyze writes it again"
    )


def test_the_installed_command_is_the_same():
    (installed,) = {each for each in entry_points(group="console_scripts") if each.name == "ablab"}
    assert installed.load() is main
