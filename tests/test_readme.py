"""The README's commands, run as written, in the order in which they stand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme")
    (experiment,) = blocks("yaml")
    (path / "heads.yaml").write_text(experiment)
    return path


def test_the_commands_work_as_written(folder):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("ablab ")]
    assert len(commands) == 15
    for _, *arguments in commands:
        found = subprocess.run(
            [sys.executable, "-m", "ablab", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            env=os.environ | {"ABLAB_STORE": "lab"},
            check=False,
        )
        assert found.returncode == 0, f"{arguments}: {found.stderr}"
        assert found.stdout.strip(), arguments


def test_the_python_works_as_written(folder):
    (code,) = blocks("python")
    (folder / "readme.py").write_text(code)
    found = subprocess.run(
        [sys.executable, "readme.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "model.d_model" in found.stdout
    assert "entry: lab" in found.stdout


def test_the_makefile_has_the_two_commands():
    targets = [
        line.split()[1]
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("make ")
    ]
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_its_picture_is_there():
    (path,) = re.findall(r"!\[[^]]*\]\(([^)]*)\)", TEXT)
    assert (ROOT / path).read_text().startswith("<svg")
