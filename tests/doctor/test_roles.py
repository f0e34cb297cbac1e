"""The doctor goes by what parts are, whatever they are called."""

import torch
from torch import nn

from ablab.doctor import doctor
from tests.doctor.planted import Healthy


class Scale(nn.Module):
    """A norm that only its role shows; over the batch too."""

    ablab_roles = {"gain": "norm"}  # noqa: RUF012

    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.gain * x / x.square().mean().sqrt()


class ScaleOverBatch(Healthy):
    def make_norm(self, width):
        return Scale(width)


class Table(nn.Embedding):
    """An embedding by another name."""


class TiedTable(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.embedding = Table(vocab_size, config.d_model)
        self.output.weight = self.embedding.weight


def found(cls, check):
    report = doctor(f"tests.doctor.test_roles:{cls.__name__}", checks=[check])
    return [finding.message for _, finding, _ in report.findings]


def test_a_norm_is_known_by_its_role():
    messages = found(ScaleOverBatch, "norms")
    assert len(messages) == 2
    assert all("(Scale) mixes vectors" in message for message in messages)


def test_an_embedding_of_any_class_may_be_tied_to_the_output():
    assert not found(TiedTable, "gradients")
