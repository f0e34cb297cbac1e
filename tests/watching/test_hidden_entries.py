"""Statistics of a user's tensor with hidden entries are those of the others."""

import pytest
import torch
from torch import nn

from ablab.experiments import experiment
from ablab.model.interventions import watch
from ablab.train.method import SOLO
from ablab.train.stack import Stack, initial_model
from ablab.watching.step_statistics import StepStatistics

REDUCERS = ("rms", "mean", "max_abs", "frac_zero")


class Scores(nn.Module):
    """Scores of the two latest keys; others are hidden."""

    def forward(self, x):
        place = torch.arange(x.shape[1], device=x.device)
        apart = place[:, None] - place
        return (x @ x.transpose(1, 2)).relu().masked_fill((apart < 0) | (apart > 1), -torch.inf)


class Windowed(nn.Module):
    def __init__(self, vocab_size, input_length, width=8):
        super().__init__()
        self.token, self.scores = nn.Embedding(vocab_size, width), Scores()
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.token(tokens)
        return self.head(self.scores(x).softmax(-1) @ x)


@pytest.fixture
def run():
    asked = {
        "name": "hidden", "task": {"kind": "copy", "length": 6},
        "model": {"kind": "tests.watching.test_hidden_entries:Windowed"},
        "train": {"steps": 2, "batch_size": 16},
    }  # fmt: skip
    (run,) = experiment(asked, "seeds=1").runs
    return run


def test_hidden_entries_are_no_zeros(run):
    stack = Stack([run], None, torch.device("cpu"), SOLO)
    patterns = [f"activation/scores/{name}" for name in REDUCERS]
    patterns.append("activation_grad/scores/frac_zero")
    stack.collector = StepStatistics(stack, patterns, lambda key: True)
    tokens = stack.draw(1).tokens[0, 0]
    _, seen = watch(initial_model(run), tokens, ["scores"])
    shown = seen["scores"].detach()
    shown = shown[shown > -torch.inf]
    found = dict(zip(stack.collector.names, stack.advance(1).watched[0], strict=True))
    expected = {
        "rms": shown.square().mean().sqrt(), "mean": shown.mean(), "max_abs": shown.abs().max(),
        "frac_zero": (shown == 0).float().mean(),
    }  # fmt: skip
    assert 0 < expected["frac_zero"] < 1
    for name, value in expected.items():
        assert float(found[f"activation/scores/{name}"]) == pytest.approx(float(value), rel=1e-4)
    assert 0 <= float(found["activation_grad/scores/frac_zero"]) <= 1
