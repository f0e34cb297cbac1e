"""Small models, each healthy or with one bug planted, by import path."""

import torch
from torch import nn

from ablab.model.base import Model
from ablab.model.config import ModelConfig
from ablab.model.forward import Forward


class SmallConfig(ModelConfig):
    d_model: int = 8


class Healthy(Model):
    """One block of single-headed attention; each bug changes one method of it."""

    Config = SmallConfig

    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        width = config.d_model
        self.embedding = nn.Embedding(vocab_size, width)
        self.position = nn.Embedding(input_length, width)
        self.norm = self.make_norm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.last_norm = self.make_norm(width)
        self.output = nn.Linear(width, vocab_size)

    def initialise(self, generator):
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.3, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def make_norm(self, width):
        return nn.LayerNorm(width)

    def embed(self, tokens):
        return self.embedding(tokens) + self.position.weight[: tokens.shape[-1]]

    def weigh(self, scores, visible):
        return scores.masked_fill(~visible, -torch.inf).softmax(-1)

    def attend(self, x, forward):
        visible = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).tril()
        scores = self.query(x) @ self.key(x).transpose(-1, -2) / x.shape[-1] ** 0.5
        return forward.site("pattern", self.weigh(scores, visible)) @ self.value(x)

    def forward(self, tokens, forward=None):
        forward = Forward() if forward is None else forward
        x = self.embed(tokens)
        x = x + self.attend(self.norm(x), forward)
        return forward.site("logits", self.output(self.last_norm(x)))


class UnitNorm(nn.Module):
    """x / |x|."""

    def forward(self, x):
        return x / torch.norm(x, dim=-1, keepdim=True)


class NormWithAxis(Healthy):
    def make_norm(self, width):
        return UnitNorm()


class UnitNormWithoutAxis(nn.Module):
    def forward(self, x):
        return x / torch.norm(x)


class NormWithoutAxis(Healthy):
    def make_norm(self, width):
        return UnitNormWithoutAxis()


class TanhMasked(Healthy):
    def weigh(self, scores, visible):
        return torch.tanh(scores) * visible


class TanhUnmasked(Healthy):
    def weigh(self, scores, visible):
        return torch.tanh(scores.masked_fill(~visible, -torch.inf))


class LinearMasked(Healthy):
    def weigh(self, scores, visible):
        return scores * visible


class LinearUnmasked(Healthy):
    def weigh(self, scores, visible):
        return scores


class LinearWithLargeMask(Healthy):
    def weigh(self, scores, visible):
        return scores.masked_fill(~visible, -1e9)


class LinearWithInfiniteMask(Healthy):
    def weigh(self, scores, visible):
        return scores.masked_fill(~visible, -torch.inf)


class BatchFirst(Healthy):
    """torch's own attention, with the batch first as here."""

    batch_first = True

    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        del self.query, self.key, self.value
        self.attention = nn.MultiheadAttention(config.d_model, 2, batch_first=self.batch_first)

    def attend(self, x, forward):
        return self.attention(x, x, x, attn_mask=self.mask(x), need_weights=False)[0]

    def mask(self, x):
        return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)


class BatchSecond(BatchFirst):
    batch_first = False

    def mask(self, x):
        return torch.ones(x.shape[0], x.shape[0], dtype=torch.bool, device=x.device).triu(1)


class BatchSecondMaskOfPositions(BatchFirst):
    batch_first = False


class CacheInPlace(Healthy):
    """Keys stand in a cache that every pass writes into."""

    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.register_buffer("k_cache", torch.zeros(64, input_length, config.d_model))

    def attend(self, x, forward):
        samples, length = x.shape[:2]
        self.k_cache[:samples, :length] = self.key(x)
        keys = self.k_cache[:samples, :length]
        visible = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        scores = self.query(x) @ keys.transpose(-1, -2) / x.shape[-1] ** 0.5
        return self.weigh(scores, visible) @ self.value(x)


class NoPositions(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        del self.position

    def embed(self, tokens):
        return self.embedding(tokens)


class Gained(Healthy):
    """A gain for each of two norms."""

    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.gains = nn.ParameterList([nn.Parameter(torch.ones(config.d_model))])

    def embed(self, tokens):
        return super().embed(tokens) * self.gains[0]


class GainLeftOut(Healthy):
    def __init__(self, config, vocab_size, input_length):
        super().__init__(config, vocab_size, input_length)
        self.gains = [nn.Parameter(torch.ones(config.d_model))]

    def embed(self, tokens):
        return super().embed(tokens) * self.gains[0]
