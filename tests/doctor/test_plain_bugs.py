"""Plain models with a mistake each are named, and their healthy relatives are left alone."""

import numpy as np
import pytest
import torch
from torch import nn

from ablab.doctor import doctor
from ablab.doctor.attention_calls import attention_calls
from ablab.doctor.trace import record
from tests.doctor import planted_attention, planted_layers
from tests.doctor.examined import UNCOMPILED, findings_of
from tests.doctor.planted_tasks import Sums, SumsConfig

MODULES = (planted_attention, planted_layers)
BUGS = {
    f"{module.__name__}:{name}": model.planted
    for module in MODULES
    for name, model in vars(module).items()
    if getattr(model, "planted", None) and model.__module__ == module.__name__
}
HEALTHY = [
    f"{module.__name__}:{name}"
    for module in MODULES
    for name, model in vars(module).items()
    if name.startswith("Healthy") and model.__module__ == module.__name__
]
RAGGED = "task.kind=tests.doctor.planted_tasks:Ragged"


@pytest.mark.parametrize("path", BUGS)
def test_the_cause_is_named(path):
    check, words = BUGS[path]
    report = doctor(path, checks=[check])
    assert any(words in finding.cause for _, finding, _ in report.findings), str(report)


@pytest.mark.parametrize("path", HEALTHY)
def test_a_healthy_model_is_left_alone(path):
    report = doctor(path, checks=UNCOMPILED)
    assert report.healthy, str(report)


class Attends(nn.Module):
    """Returns the output of torch's attention; keeps the weights that torch returns."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.mha = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens):
        x = self.embed(tokens)
        hidden = torch.ones(len(x[0]), len(x[0]), dtype=torch.bool).triu(1)
        y, self.kept = self.mha(x, x, x, attn_mask=hidden, average_attn_weights=False)
        return y


def test_the_weights_in_multi_head_attention_are_those_that_torch_returns():
    model = Attends().eval()
    tokens = torch.randint(9, (3, 5), generator=torch.Generator().manual_seed(0))
    trace = record(model, tokens)
    (call,) = attention_calls(trace)
    assert call.where == "mha"
    assert call.output.shape == (3, 2, 5, 5)
    torch.testing.assert_close(call.output, model.kept)
    torch.testing.assert_close(trace.logits, model(tokens))


def test_the_setting_of_fused_layers_is_restored():
    assert torch.backends.mha.get_fastpath_enabled()
    doctor("tests.doctor.planted_attention:HealthyFused", checks=["forward"])
    assert torch.backends.mha.get_fastpath_enabled()


def test_hiding_the_padding_of_a_task_is_right_and_hiding_the_rest_is_not():
    path = "tests.doctor.planted_attention:"
    assert findings_of("attention", path + "PaddingHidden", RAGGED) == []
    (found,) = findings_of("attention", path + "PaddingInverted", RAGGED)
    assert "it hides ordinary tokens and shows padding" in found.cause


class WithoutNinesConfig(SumsConfig):
    pass


class WithoutNines(Sums):
    """Never draws the last token of its vocabulary for training; held-out samples have it."""

    Config = WithoutNinesConfig

    def draw(self, *arguments):
        batch = super().draw(*arguments)
        last = self.config.vocab_size - 1
        for part in (batch.tokens, batch.targets):
            np.copyto(part, last - 1, where=part == last)
        return batch


def test_tokens_that_are_never_drawn_are_named():
    path = "tests.doctor.test_plain_bugs:WithoutNines"
    found = findings_of("batches", path)
    assert any("tokens 11 occur in held-out inputs" in each.evidence for each in found), found
