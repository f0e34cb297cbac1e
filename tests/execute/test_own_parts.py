"""What a user's part lacks is an error of the input, with the lines to add."""

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


TASK = """
import numpy as np
from ablab.tasks.base import Batch, Task
from ablab.tasks.config import TaskConfig

class Config(TaskConfig):
    vocab_size = property(lambda self: 4)
    input_length = property(lambda self: 2)

class Mine(Task):
    Config = Config
    predicted = slice(1, None)

    def __init__(self, config):
        self.config = config

    def draw(self, seed, first_step, steps, batch_size):
        tokens = np.ones((steps, batch_size, 2), dtype=int)
        return Batch(tokens, tokens[..., :1])

    def held_out(self, samples):
        return Batch(np.ones((samples, 2), dtype=int), np.ones((samples, 1), dtype=int))

    def measures(self, logits, tokens, targets):
        return {"top": logits.max()}
"""


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        (
            "def draw",
            "def drawn",
            "lacks draw",
            "def draw(self, seed, first_step, steps, batch_size):",
        ),
        ("vocab_size =", "vocabulary =", "lacks vocab_size", "def vocab_size(self): ..."),
        ("    Config = Config", "", "is not a task", "    Config = MyConfig"),
        ("(Task)", "", "is not a task", "class MyTask(ablab.tasks.base.Task):"),
        ("steps, batch_size, 2)", "batch_size, 2)", "gives tokens of shape (3, 2) in draw", ""),
        (
            "tokens[..., :1]",
            "tokens",
            "gives targets of shape (2, 3, 2) in draw; expected (2, 3, 1)",
            "",
        ),
        (
            "(samples, 1), dtype=int",
            "(samples, 1)",
            "type float64 in held_out",
            ".astype(np.int64)",
        ),
        ("(samples, 1), dtype=int", "(samples, 1), dtype='i4'", "type int32 in held_out", ""),
        ("batch_size, 2), dtype=int", "batch_size, 2), dtype='u1'", "type uint8 in draw", ""),
        ("tokens[..., :1]", "-tokens[..., :1]", "gives targets from -1 to -1 in draw", ""),
        (
            "tokens[..., :1]",
            "-100 * tokens[..., :1]",
            "targets of -100 in draw",
            "def ragged(self)",
        ),
        ("np.ones((samples, 2)", "9 * np.ones((samples, 2)", "from 9 to 9 in held_out", ""),
        ("logits.max()", "logits.max(2).values", "measures top as (3, 1)", "values.mean()"),
        ("logits.max()", "0.5", "measures top as float", "values.mean()"),
    ],
)
def test_a_task(folder, old, new, message, line):
    assert old in TASK
    code, error = said(folder, TASK.replace(old, new), "task=mine:Mine")
    assert code == 2
    assert message in " ".join(error.split())
    assert line in error


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TASK", "TASK"),
        (
            "tokens[..., :1])",
            "np.where(np.arange(batch_size)[:, None] % 2, tokens[..., :1], -100))",
        ),
    ],
)
def test_the_task_as_it_is_trains(folder, old, new):
    ragged = f"    ragged = property(lambda self: {old != 'TASK'})\n    input_length"
    source = TASK.replace(old, new).replace("    input_length", ragged)
    code, error = said(folder, source, "task=mine:Mine", "train.batch_size=4")
    assert code == 0, error


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("def mine(): return 1", "cannot be called with step", "def my_schedule(step, total):"),
        ("def mine(step): return -1", "gives -1 at step 1", "def my_schedule(step, total):"),
        ("def mine(step, total): return 0 * total if step < total else None", "None at step 2", ""),
        ("def mine(step): return float('nan')", "gives nan at step 1", "def my_schedule"),
        ("mine = 1", "it is not callable", ""),
        ("", "has no 'mine'", ""),
        ("import nothing_here", "cannot import 'mine' (ModuleNotFoundError", ""),
    ],
)
def test_a_schedule(folder, source, message, line):
    code, error = said(folder, source, "train.schedule=mine:mine")
    assert code == 2
    assert message in " ".join(error.split())
    assert line in error


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("def mine(logits): ...", "cannot be called with logits, targets", "def my_loss(logits,"),
        ("def mine(logits, targets): return logits.mean()", "gives () for 3 samples", "(B, P)"),
        (
            "def mine(logits, targets): return 1.0",
            "gives float for",
            "def my_loss(logits, targets):",
        ),
        ("def mine(logits, targets): return logits.sum(2) / 0", "for the first batch", ""),
    ],
)
def test_a_loss(folder, source, message, line):
    code, error = said(folder, source, "train.loss=mine:mine")
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


MODEL = """
import torch

class mine(torch.nn.Module):
    def __init__(self, vocab_size, width=4):
        super().__init__()
        self.table = torch.nn.Embedding(vocab_size, vocab_size)

    def forward(self, tokens):
        return self.table(tokens)
"""


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("forward", "forwards", "mine:mine has no forward", "def forward(self, tokens): ..."),
        ("(torch.nn.Module)", "", "is not a model", "class MyModel(torch.nn.Module):"),
        (
            "self.table(tokens)",
            "self.table(tokens)[:, -1]",
            "returned (1, 12) for tokens (1, 4)",
            "",
        ),
        ("self.table(tokens)", "self.table(tokens) / 0", "gives logits with a loss of nan", ""),
        (
            "self.table =",
            "self.tables = ()  #",
            "has no parameters to train",
            "torch.nn.Embedding(",
        ),
        ("width=4", "**others", "the argument **others of mine cannot be a setting", ""),
        ("width=4", "width=torch.ones(1)", "cannot be a setting", ""),
    ],
)
def test_a_model(folder, old, new, message, line):
    assert old in MODEL
    code, error = said(folder, MODEL.replace(old, new), "model={kind: 'mine:mine'}")
    assert code == 2
    assert message in " ".join(error.split())
    assert line in error


IN_ATTENTION = "from ablab.model.parts import *\n"
SAME = "class mine(torch.nn.Module):\n    def __init__(self, width, bias): super().__init__()\n"


@pytest.mark.parametrize(
    ("setting", "source", "message", "line"),
    [
        (
            "attention.activation",
            "def mine(q, k): ...",
            "cannot be called with scores",
            "def my_act",
        ),
        (
            "attention.activation",
            "def mine(s): return s.sum(-1)",
            "expected the same shape",
            "def my_",
        ),
        (
            "attention.activation",
            "def mine(s): pass",
            "gives NoneType for scores",
            "def my_activation",
        ),
        ("attention.activation", "def mine(s): return s / 0", "a loss of nan before training", ""),
        ("attention.activation", "class mine: ...", "not a subclass of ablab's Att", "def my_act"),
        (
            "attention.activation",
            IN_ATTENTION + "class mine(Pointwise): ...",
            "lacks weigh",
            "def weigh(self, scores, length): ...  # The weight of each score.",
        ),
        ("position", "def mine(t): ...", "is neither an InputPosition", "(H, Q, S), added"),
        (
            "position",
            IN_ATTENTION + "class mine(InputPosition):\n    def __init__(self, t, d): ...",
            "lacks forward",
            "def forward(self, first, length, device): ...",
        ),
        (
            "position",
            IN_ATTENTION + "class mine(InputPosition):\n"
            "    def __init__(self, t, d): super().__init__(t, d)\n"
            "    def forward(self, first, length, device): return torch.zeros(length)",
            "gives (4,); expected (T, D), here (4, 8)",
            "(T, D), added to the embeddings",
        ),
        (
            "norm",
            "def mine(x): ...",
            "cannot be called with width, bias",
            "def __init__(self, width,",
        ),
        (
            "norm",
            "def mine(width, bias): ...",
            "gives NoneType; expected a torch.nn.Module",
            "class My",
        ),
        (
            "norm",
            SAME + "    def forward(self, x): return x.mean(-1)",
            "expected the same shape",
            "",
        ),
    ],
)
def test_a_part_of_a_model(folder, setting, source, message, line):
    code, error = said(folder, f"import torch\n{source}\n", f"model.{setting}=mine:mine")
    assert code == 2
    assert message in " ".join(error.split())
    assert line in error


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("def mine(x, y): return x.mean()", "cannot be called with x", "def my_statistic(x):"),
        (
            "def mine(x): return x.mean(-1)",
            "gives a tensor (2, 3) for a tensor (2, 3, 4)",
            "def my_s",
        ),
        ("def mine(x): return 1.0", "gives 1.0 for a tensor", "def my_statistic(x):"),
        ("", "has no 'mine'", ""),
    ],
)
def test_a_statistic(folder, source, message, line):
    code, error = said(folder, source, 'watch.statistics=["activation/*.mlp.post/mine:mine"]')
    assert code == 2
    assert message in " ".join(error.split())
    assert line in error


# What is refused for a new run, and was accepted for those that earlier releases trained.
EARLIER = {
    "train.schedule={kind: 'mine:half', total: 5}": (
        "def half(step): return 0.5",
        "mine:half does not use the total",
    ),
    "model.norm=mine:Scales": (
        "import torch\n"
        "class Scales(torch.nn.Module):\n"
        "    def __init__(self, width, affine=False):\n"
        "        super().__init__()\n"
        "        self.scale = torch.nn.Parameter(torch.ones(width))\n"
        "    def forward(self, x): return x * self.scale",
        "would get the bias as affine",
    ),
    "train.optimizer=mine:Mine": (
        OPTIMIZER.replace("LR * p.grad", 'group["lr"] * p.grad; self.norm = float(p.grad.norm())'),
        "keeps self.norm outside of self.state",
    ),
}


@pytest.mark.parametrize("override", EARLIER)
def test_what_earlier_releases_trained_can_be_opened_and_replayed(folder, monkeypatch, override):
    source, message = EARLIER[override]
    folder.write({"mine.yaml": ASKED, "mine.py": source})
    with monkeypatch.context() as context:
        context.setattr("ablab.execute.orchestrate.check_own_parts", lambda runs: None)
        ablab.run("mine.yaml", override, store="lab", quiet=True)
    store = ablab.open("lab")
    (run,) = store.runs()
    assert store.run(run.run).run.train.steps == 2
    store.run(run.run).model(2)
    assert store.replay(run.run).equal
    with pytest.raises(InputError, match=message):
        ablab.run("mine.yaml", override, "seeds=[1]", store="lab", quiet=True)
