"""Mistakes in norms, residual connections, activations and dropout."""

# ruff: noqa: E501 (tables of words and names)

from torch import nn
from torch.nn import functional as F

from tests.doctor_blind.parts import GPT, MLP, Block, Bug, gpt_with


class BatchNorm(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class OverSamples(nn.LayerNorm):
    def forward(self, x):
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() * self.weight + self.bias


class OverTime(nn.LayerNorm):
    def forward(self, x):
        mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * self.weight + self.bias


class Everything(nn.LayerNorm):
    def forward(self, x):
        return (x - x.mean()) / x.std() * self.weight + self.bias


class ZeroScale(nn.LayerNorm):
    def reset_parameters(self):
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Dropped(Block):
    def forward(self, x):
        self.ln1(x)
        x = x + self.attn(x)
        return x + self.mlp(self.ln2(x))


class NoResidual(Block):
    def forward(self, x):
        return self.mlp(self.ln2(self.attn(self.ln1(x))))


class Linear(MLP):
    def forward(self, x):
        return self.fc2(self.fc1(x))


class HeavyDropout(MLP):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.9, self.training)


class AlwaysDropout(MLP):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1)


class DroppedGPT(GPT):
    block = Dropped


class NoResidualGPT(GPT):
    block = NoResidual


BATCH = (r"batch", r"(other|between|across) samples")
BUGS = [
    Bug("batch norm", gpt_with("BatchNormGPT", norm=BatchNorm), "the norm runs over the batch", BATCH,
        GPT),
    Bug("norm over samples", gpt_with("SampleNormGPT", norm=OverSamples),
        "the norm runs over the batch axis", BATCH, GPT),
    Bug("norm over time", gpt_with("TimeNormGPT", norm=OverTime), "the norm runs over the sequence",
        (r"norm.*(sequence|time|position|axis|dim)", r"(sequence|time|axis).*norm"), GPT),
    Bug("norm over everything", gpt_with("FlatNormGPT", norm=Everything),
        "the norm runs over batch and sequence", (r"norm", *BATCH), GPT),
    Bug("norm scale zero", gpt_with("ZeroNormGPT", norm=ZeroScale), "the scale of the norm starts at zero",
        (r"zero", r"constant", r"initial"), GPT, fresh=True),
    Bug("norm not used", DroppedGPT, "the result of the norm is dropped",
        (r"unused", r"not used", r"no gradient", r"no effect", r"dropped"), GPT),
    Bug("no residual", NoResidualGPT, "the residual connections are missing", (r"residual", r"skip"), GPT),
    Bug("linear mlp", gpt_with("LinearGPT", mlp_class=Linear), "the MLP has no activation",
        (r"activation", r"nonlinear", r"linear"), GPT),
    Bug("dropout 0.9", gpt_with("HeavyGPT", mlp_class=HeavyDropout), "dropout is 0.9", (r"dropout", r"dropped"), GPT),
    Bug("dropout in evaluation", gpt_with("AlwaysGPT", mlp_class=AlwaysDropout),
        "dropout stays active in evaluation", (r"dropout", r"random", r"stochastic"), GPT),
]  # fmt: skip
