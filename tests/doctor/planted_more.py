"""More small models with a bug each, for the checks that the famous nine do not reach."""

import random

import torch
from torch import nn
from torch.nn import functional as F

from tests.doctor.planted import Healthy


class AlwaysDropping(Healthy):
    def embed(self, tokens):
        return F.dropout(super().embed(tokens), 0.5)


class DroppingByTorch(Healthy):
    def embed(self, tokens):
        return F.dropout(super().embed(tokens), 0.5, self.training)


class DrawnByPython(Healthy):
    def initialise(self, generator):
        super().initialise(generator)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, random.random())


class HardCodedPrecision(Healthy):
    def embed(self, tokens):
        return super().embed(tokens) + torch.zeros(
            1, dtype=torch.float32, device=tokens.device
        ).expand_as(self.position.weight[: tokens.shape[1]])

    def make_norm(self, width):
        return Float32Norm(width)


class Float32Norm(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.float(), self.normalized_shape)


class ReturnsFloat32(Healthy):
    def forward(self, tokens, forward=None):
        return super().forward(tokens, forward).float()


class PlainTable(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.table = {"sines": torch.linspace(0, 1, input_length)[:, None].sin()}

    def embed(self, tokens):
        return super().embed(tokens) + self.table["sines"][: tokens.shape[1]].to(tokens.device)


class HomelessTensor(Healthy):
    def embed(self, tokens):
        return super().embed(tokens) + torch.arange(tokens.shape[1])[:, None]


class SureOfItself(Healthy):
    def initialise(self, generator):
        super().initialise(generator)
        nn.init.normal_(self.output.weight, std=5, generator=generator)


class Copies(Healthy):
    """Gives each position's own token as its answer."""

    def forward(self, tokens, forward=None):
        copied = F.one_hot(tokens, self.output.out_features).to(self.output.weight.dtype)
        return super().forward(tokens, forward) + 10 * copied


class Unused(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.spare = nn.Linear(2, 3)


class Frozen(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.key.weight.requires_grad_(False)


class BuiltOnce(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.key = self.query


class Tied(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.output.weight = self.embedding.weight


class ZeroOutput(Healthy):
    """An output layer that starts at zero, which is sound."""

    def initialise(self, generator):
        super().initialise(generator)
        nn.init.zeros_(self.output.weight)


class Deaf(Healthy):
    """The answer does not depend on the tokens."""

    def embed(self, tokens):
        return super().embed(tokens) * 0


class MeanOverBatch(Healthy):
    def embed(self, tokens):
        x = super().embed(tokens)
        return x - x.mean(0)


class BatchNormed(Healthy):
    def make_norm(self, width):
        return OverBatch(width)


class OverBatch(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class NoRoot(nn.Module):
    def forward(self, x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6)


class RMSNorm(NoRoot):
    """Has the name alone."""


class Misnamed(Healthy):
    def make_norm(self, width):
        return RMSNorm()


class SoftmaxOverQueries(Healthy):
    def weigh(self, scores, visible):
        return scores.masked_fill(~visible, -torch.inf).softmax(-2)


class Branches(Healthy):
    def embed(self, tokens):
        x = super().embed(tokens)
        return x if float(x.detach().sum()) > 0 else -x


class Forgets(Healthy):
    """Carries a count from pass to pass."""

    passes = 0

    def embed(self, tokens):
        self.passes += 1
        return super().embed(tokens) + self.passes


class Raises(Healthy):
    def embed(self, tokens):
        raise KeyError("no such table")


class LastOnly(Healthy):
    def forward(self, tokens, forward=None):
        return super().forward(tokens, forward)[:, -1]
