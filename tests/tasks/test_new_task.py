"""What adding a task takes: its files, and no line anywhere else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ablab
import ablab.tasks
from ablab.tasks.config import TASKS
from ablab.train.method import STACK
from ablab.train.stack import Stack
from tests.tasks.new_task import CONFIG, TASK

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def parity(tmp_path, monkeypatch):
    """The two files, in a folder that counts as part of ``ablab/tasks``."""
    (tmp_path / "parity_config.py").write_text(CONFIG)
    (tmp_path / "parity.py").write_text(TASK)
    monkeypatch.setattr(ablab.tasks, "__path__", [*ablab.tasks.__path__, str(tmp_path)])
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    monkeypatch.setattr(TASKS, "_discovered", False)
    yield
    for name in ("parity", "parity_config"):
        sys.modules.pop(f"ablab.tasks.{name}", None)
        vars(ablab.tasks).pop(name, None)


ASKED = {
    "name": "odd",
    "model": {"kind": "bigram"},
    "train": {"steps": 4, "batch_size": 8, "evaluate": {"every": 4, "samples": 16}},
    "seeds": 1,
}


def first_batch(kind):
    (run,) = ablab.experiment(ASKED | {"task": {"kind": kind, "bits": 4}}).runs
    stack = Stack([run], None, torch.device("cpu"), STACK)
    assert np.isfinite(stack.advance(4).losses).all()
    return stack.task.draw(run.seed, 1, 1, 8)


def test_two_files_are_a_task(parity):
    batch = first_batch("parity")
    np.testing.assert_array_equal(batch.tokens.sum(-1) % 2, batch.targets[..., 0])
    assert "parity" in TASKS.names()


def test_one_module_of_a_users_is_a_task(tmp_path, monkeypatch):
    own = CONFIG.replace('@TASKS.register("parity")\n', "").replace(
        '"parity"', '"my_parity:Parity"'
    )
    (tmp_path / "my_parity.py").write_text(
        own + TASK.replace("from ablab.tasks.parity_config import ParityConfig\n", "")
    )
    monkeypatch.chdir(tmp_path)
    batch = first_batch("my_parity:Parity")
    np.testing.assert_array_equal(batch.tokens.sum(-1) % 2, batch.targets[..., 0])
    assert not [name for name in TASKS.names() if "parity" in name]
    del sys.modules["my_parity"]


@pytest.mark.parametrize(
    ("imported", "kept"),
    [("from ablab.tasks.random import words", True), ("import torch", False),
     ("from ablab.tasks.scores import is_right", False)],
)  # fmt: skip
def test_its_configuration_is_checked_without_being_listed(tmp_path, imported, kept):
    shutil.copytree(ROOT / "src" / "ablab", tmp_path / "src" / "ablab")
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "import_contract.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    tasks = tmp_path / "src" / "ablab" / "tasks"
    (tasks / "parity_config.py").write_text(f"{imported}\n{CONFIG}")
    (tasks / "parity.py").write_text(TASK)
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
    )
    broken = "ablab.tasks.parity_config is not allowed to import torch"
    assert (found.returncode == 0, broken not in found.stdout) == (kept, kept), found.stdout
