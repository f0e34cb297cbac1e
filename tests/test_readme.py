"""The README's commands, run as written, in the order in which they stand."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import run_command

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("readme")
    (experiment,) = blocks("yaml")
    assert TEXT.count("Save this as `heads.yaml`") == 1
    (path / "heads.yaml").write_text(experiment)
    return path


def test_the_commands_work_as_written(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ABLAB_STORE", "lab")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("ablab ")]
    assert len(commands) == 5
    for _, *arguments in commands:
        code, out, err = run_command(*arguments)
        assert code == 0, f"{arguments}: {err}"
        assert out.strip(), arguments
        if "train.lr=1e-3,3e-3" in arguments:  # "known runs are not trained again"
            assert "training 4 runs in 2 stacks (4 already done)" in err


def test_the_python_works_as_written(folder, monkeypatch, capsys):
    (code,) = blocks("python")
    (folder / "readme.py").write_text(code)
    monkeypatch.chdir(folder)
    runpy.run_path("readme.py", run_name="__main__")
    found = capsys.readouterr().out
    assert "model.n_heads" in found
    assert "entry: lab" in found


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
    assert (ROOT / path).read_bytes().startswith(b"\x89PNG")


def test_it_is_no_longer_than_two_screens():
    assert len(TEXT.splitlines()) <= 90
