"""Plain models with a mistake in layers, state or gradients each; see ``planted_attention``.

Axes: B batch, T sequence, D model.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.doctor.planted_attention import planted
from tests.doctor_blind.parts import (
    GPT,
    MLP,
    Block,
    CharLSTM,
    ConvNet,
    Llama,
    StateSpaceLM,
    gpt_with,
)  # fmt: skip


class AddsTwice(Block):
    def forward(self, x):
        x = x + (x + self.attn(self.ln1(x)))
        return x + self.mlp(self.ln2(x))


@planted("layers", "The residual is added twice")
class ResidualInside(GPT):
    block = AddsTwice


@planted("layers", "The residual is added twice")
class ResidualOutside(GPT):
    def body(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


@planted("layers", "The residual is added twice")
class ResidualOfStates(StateSpaceLM):
    """Layers without attention, which the model adds twice."""

    def forward(self, tokens):
        x = self.embed(tokens)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x = x + (x + mixer(norm(x)))
        return self.lm_head(self.norm_f(x))


class Deep(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class DeepMLP(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.one, self.two = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.three = nn.Linear(d_model, d_model)

    def forward(self, x):
        h = self.two(self.one(x))
        F.gelu(h)  # the result is dropped
        return self.three(h)


@planted("layers", "no activation")
class LinearThree(gpt_with("DeepGPT", mlp_class=DeepMLP)):
    pass


@planted("samples", "Batch and sequence axes are swapped")
class GruOverBatch(CharLSTM):
    """A convolution mixes positions, and a GRU runs over the samples."""

    def __init__(self, vocab_size: int = 16, hidden: int = 16):
        super().__init__(vocab_size, hidden)
        self.lstm = nn.GRU(hidden, hidden)
        self.conv = nn.Conv1d(hidden, hidden, 2)

    def forward(self, tokens):
        x = self.embedding(tokens)
        x = self.conv(F.pad(x.transpose(1, 2), (1, 0))).transpose(1, 2)
        return self.fc(self.lstm(x)[0])


@planted("evaluation", "keeps state from one pass to the next")
class StateKept(CharLSTM):
    state = None

    def forward(self, tokens):
        x = self.embedding(tokens)
        fits = self.state is not None and self.state[0].shape[1] == len(x)
        fits = fits and self.state[0].dtype == x.dtype and self.state[0].device == x.device
        out, state = self.lstm(x, self.state if fits else None)
        self.state = tuple(each.detach() for each in state)
        return self.fc(out)


@planted("evaluation", "Dropout is active in evaluation")
class DropoutAlways(GPT):
    def embed(self, tokens):
        return F.dropout(super().embed(tokens), 0.1)


@planted("evaluation", "Noise is drawn in evaluation")
class NoiseAlways(GPT):
    def embed(self, tokens):
        x = super().embed(tokens)
        return x + 0.1 * torch.randn_like(x)


@planted("registered", "created in the forward pass")
class MadeInForward(GPT):
    def output(self, x):
        layer = nn.Linear(x.shape[-1], x.shape[-1], device=x.device, dtype=x.dtype)
        return super().output(layer(x))


@planted("modes", "dropout is never active in training")
class DropoutUnused(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16):
        super().__init__(vocab_size, input_length, d_model)
        self.drop = nn.Dropout(0.1)


@planted("modes", "dropout is never active in training")
class DropoutOff(GPT):
    def embed(self, tokens):
        return F.dropout(super().embed(tokens), 0.1, training=False)


@planted("modes", "dropout is never active in training")
class AlwaysEvaluates(DropoutUnused):
    def embed(self, tokens):
        self.eval()
        return self.drop(super().embed(tokens))


class HealthyDropout(DropoutUnused):
    planted = None

    def embed(self, tokens):
        return self.drop(super().embed(tokens))


class DetachedBranch(Block):
    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x.detach()))


@planted("gradients", "is detached")
class BranchDetached(GPT):
    block = DetachedBranch


class FrozenBranch(Block):
    def forward(self, x):
        with torch.no_grad():
            y = self.ln2(x)
        return x + self.attn(self.ln1(x)) + self.mlp(y)


@planted("gradients", "torch.no_grad")
class BranchWithoutGraph(GPT):
    block = FrozenBranch


class RoundedMLP(MLP):
    def forward(self, x):
        return super().forward(x + (x.round() - x).detach())


class HealthyStraightThrough(gpt_with("RoundedGPT", mlp_class=RoundedMLP)):
    """A straight-through estimator, whose gradient is not the derivative on purpose."""


@planted("causality", "convolution")
class SeesFuture(ConvNet):
    """Padded on the right instead of the left."""

    def forward(self, tokens):
        x = self.emb(tokens)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            padded = F.pad(norm(x).transpose(1, 2), (0, conv.left))
            x = x + F.relu(conv.conv(padded).transpose(1, 2))
        return self.out(x)


@planted("causality", "positions as channels")
class OverFeatures(GPT):
    """A convolution that runs over the features, with the positions as channels."""

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16):
        super().__init__(vocab_size, input_length, d_model)
        self.conv = nn.Conv1d(input_length, input_length, 3, padding=1)

    def embed(self, tokens):
        x = super().embed(tokens)
        return x + self.conv(x)


@planted("causality", "A mean over the positions")
class MeanAdded(GPT):
    def body(self, x):
        return super().body(x - x.mean(1, keepdim=True))


@planted("causality", "flip")
class Flipped(StateSpaceLM):
    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + 0.1 * x.flip(1)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x = x + mixer(norm(x))
        return self.lm_head(self.norm_f(x))


@planted("causality", "sorted or ranked")
class Ranks(GPT):
    """The rank of a position among all positions of its sample is added."""

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16):
        super().__init__(vocab_size, input_length, d_model)
        self.score, self.ranks = nn.Linear(d_model, 1), nn.Embedding(input_length, d_model)

    def body(self, x):
        ranks = self.score(x)[..., 0].argsort(1).argsort(1)
        return super().body(x) + self.ranks(ranks)


@planted("tables", "not in order")
class Rolled(GPT):
    def positions(self, tokens):
        at = torch.arange(tokens.shape[1], device=tokens.device)
        return self.pos_emb(at.roll(1))


class HealthyLlama(Llama):
    pass
