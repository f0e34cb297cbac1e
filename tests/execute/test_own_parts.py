"""What a user's part lacks is an error of the input, with the lines to add, before anything is written."""

import pytest

import ablab
from ablab.config import InputError
from tests.cli.command import run_command

ASKED = """
name: mine
task: {kind: addition, n_digits: 1}
model: {n_layers: 1, d_model: 8, n_heads: 2}
train: {steps: 2, batch_size: 4, evaluate: {samples: 4}}
"""

OPTIMIZER = """
import torch

class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.lr = lr

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                with torch.no_grad():
                    p -= LR * p.grad
"""


def said(folder, source, *overrides):
    """What ``ablab run`` says of a module with a user's part."""
    folder.write({"mine.yaml": ASKED, "mine.py": source})
    code, _, error = run_command("run", "mine.yaml", *overrides, "--quiet")
    assert not (folder.path / "lab").exists() or code != 2
    return code, error


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        (OPTIMIZER.replace("LR", "self.lr"), "ignores the learning rate", 'lr = group["lr"]'),
        (OPTIMIZER.replace("def step", "def stepp"), "has no step", "def step(self):"),
        (OPTIMIZER.replace("step(self)", "step(self, closure)"), "cannot be used", ""),
        (OPTIMIZER.replace("lr):", "**others):"), r"the argument **others of Mine", "lr=1e-3"),
        ("def Mine(params): ...", "is not an optimizer", "class Mine(torch.optim.Optimizer):"),
        (
            "from ablab.train.optimizer import Optimizer\nclass Mine(Optimizer): ...",
            "lacks scalars, update",
            "def scalars(self, config, step, lr): ...  # The numbers that the update",
        ),
    ],
)
def test_an_optimizer(folder, source, message, line):
    code, error = said(folder, source, "train.optimizer=mine:Mine")
    assert code == 2
    assert message in " ".join(error.split())
    assert line in error


def test_an_optimizer_that_takes_its_rate_without_a_default_trains(folder):
    code, error = said(folder, OPTIMIZER.replace("LR", 'group["lr"]'), "train.optimizer=mine:Mine")
    assert code == 0, error


def test_a_class_can_be_given_itself(folder, monkeypatch):
    folder.write(mine=OPTIMIZER.replace("LR", 'group["lr"]'), other="part = lambda: None")
    monkeypatch.syspath_prepend(folder.path)
    import mine
    import other

    asked = {"name": "x", "task": {"kind": "addition"}}
    found = ablab.experiment(asked | {"train": {"optimizer": mine.Mine}})
    assert found.runs[0].train.optimizer == "mine:Mine"
    named = ablab.experiment(asked | {"train": {"optimizer": "mine:Mine"}})
    assert found.runs[0].id == named.runs[0].id

    def inner(): ...

    for part, reason in ((other.part, "a lambda has no name"), (inner, "inside a function")):
        with pytest.raises(InputError, match=reason):
            ablab.experiment(asked | {"train": {"optimizer": part}})
