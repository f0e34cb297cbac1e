"""Muon orthogonalises matrices by their roles, not by their names, also in a user's module."""

import torch
from torch import nn

from ablab.experiments import experiment
from ablab.experiments.identity import trajectory
from ablab.train.method import SOLO
from ablab.train.stack import Stack

CPU = torch.device("cpu")


def test_muon_leaves_a_users_embedding_to_adamw():
    runs = experiment(
        {
            "name": "own",
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"kind": "tests.train.test_muon_roles:Named"},
            "train": {"batch_size": 8, "steps": 5, "lr": 0.01, "optimizer": "muon"},
        }
    ).runs
    stack = Stack(runs, None, CPU, SOLO)
    stack.advance(2)
    squares = stack.layout.views(stack.optimizer_state["exp_avg_sq"])
    adamw = {name for name, view in squares.items() if view.any()}
    assert adamw == {"module.wte.weight", "module.places", "module.head.weight"}
    assert squares.keys() - adamw == {"module.embedding_mixer.weight"}


def test_runs_that_muon_trained_by_names_are_others():
    base = {"name": "own", "task": {"kind": "addition", "n_digits": 2}}
    model = {"kind": "tests.train.test_muon_roles:Named"}

    def marked(model, optimizer):
        run = experiment(base | {"model": model, "train": {"optimizer": optimizer}}).runs[0]
        return "roles" in trajectory(run.task, run.model, run.train, run.seed)

    assert marked(model, "muon")
    assert not marked(model, "adamw")
    assert not marked({"kind": "transformer"}, "muon")


class Named(nn.Module):
    """A user's module with a table under another name, and a matrix called an embedding."""

    ablab_roles = {"places": "embedding", "head.weight": "unembedding"}  # noqa: RUF012

    def __init__(self, vocab_size: int, input_length: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, 8)
        self.places = nn.Parameter(torch.randn(input_length, 8))
        self.embedding_mixer = nn.Linear(8, 8, bias=False)
        self.head = nn.Linear(8, vocab_size, bias=False)

    def forward(self, tokens):
        return self.head(self.embedding_mixer(self.wte(tokens) + self.places))
