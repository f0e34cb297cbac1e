"""Correct transformers, mostly of ``torch.nn`` modules.

Each model takes tokens (B, T) and returns logits (B, T, V). A planted bug replaces one method.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def later(length, device=None):
    """True where a query (row) must not see a key (column): the convention of ``torch.nn``."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


class Language(nn.Module):
    """Embedding, learned positions, layers, a final norm and a head without bias."""

    n_layers = 2

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.place = nn.Parameter(0.1 * torch.randn(input_length, d_model))
        self.layers = nn.ModuleList(
            self.make_layer(d_model, input_length) for _ in range(self.n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.unembed = nn.Linear(d_model, vocab_size, bias=False)

    def make_layer(self, d_model, length):
        return MhaLayer(d_model)

    def embedded(self, tokens):
        return self.tokens(tokens) + self.place[: tokens.shape[1]]

    def mixed(self, x, tokens):
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, tokens):
        return self.unembed(self.norm(self.mixed(self.embedded(tokens), tokens)))


class MhaLayer(nn.Module):
    """Pre-norm ``nn.MultiheadAttention`` (batch first) and a feed-forward network."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = nn.MultiheadAttention(d_model, 2, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model)
        )

    def hidden(self, x):
        return later(x.shape[1], x.device)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, attn_mask=self.hidden(x), need_weights=False)[0]
        return x + self.feed(self.norm2(x))


class MhaModel(Language):
    """A decoder of ``nn.MultiheadAttention``."""


class TimeFirst(Language):
    """``nn.MultiheadAttention`` with time as its first axis, transposed before and after."""

    class Layer(MhaLayer):
        def __init__(self, d_model: int) -> None:
            super().__init__(d_model)
            self.attention = nn.MultiheadAttention(d_model, 2)

        def hidden(self, x):
            return later(x.shape[0], x.device)

    def make_layer(self, d_model, length):
        return self.Layer(d_model)

    def mixed(self, x, tokens):
        return super().mixed(x.transpose(0, 1), tokens).transpose(0, 1)


class EncoderStack(Language):
    """A pre-norm ``nn.TransformerEncoder`` with a causal mask and its hint."""

    n_layers = 0

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        layer = nn.TransformerEncoderLayer(
            d_model, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def mixed(self, x, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        return self.encoder(x, mask=mask, is_causal=True)


class DecoderStack(Language):
    """``nn.TransformerDecoder`` whose memory is its own input; both attentions are causal."""

    n_layers = 0

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        layer = nn.TransformerDecoderLayer(d_model, 2, 32, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)

    def mixed(self, x, tokens):
        mask = later(x.shape[1], x.device)
        return self.decoder(x, x, tgt_mask=mask, memory_mask=mask)


class Heads(nn.Module):
    """Causal attention by ``scaled_dot_product_attention`` with an additive bias."""

    def __init__(self, d_model: int, n_heads: int, length: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.to_q = nn.Linear(d_model, d_model, bias=False)
        self.to_k = nn.Linear(d_model, d_model, bias=False)
        self.to_v = nn.Linear(d_model, d_model, bias=False)
        self.to_out = nn.Linear(d_model, d_model)

    def heads(self, x):
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, H, T, K)

    def bias(self, length, device):
        return torch.zeros(length, length, device=device)

    def turned(self, q, k, v):
        return q, k, v

    def forward(self, x):
        T = x.shape[1]
        q, k, v = self.turned(*(self.heads(f(x)) for f in (self.to_q, self.to_k, self.to_v)))
        bias = self.bias(T, x.device).masked_fill(later(T, x.device), float("-inf"))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.to_out(found.transpose(1, 2).flatten(2))


class HeadsLayer(nn.Module):
    """Pre-norm attention and feed-forward network, without biases in the norms."""

    def __init__(self, d_model: int, attention: nn.Module, feed: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model, bias=False)
        self.norm2 = nn.LayerNorm(d_model, bias=False)
        self.attention, self.feed = attention, feed

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


def feed_forward(d_model):
    return nn.Sequential(
        nn.Linear(d_model, 3 * d_model), nn.SiLU(), nn.Linear(3 * d_model, d_model)
    )


class HeadsModel(Language):
    """A transformer whose attention and feed-forward network are class attributes."""

    attention = Heads
    feed = staticmethod(feed_forward)

    def make_layer(self, d_model, length):
        return HeadsLayer(d_model, self.attention(d_model, 2, length), self.feed(d_model))


class WithoutTable(HeadsModel):
    """No table of positions: the attention knows the order."""

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        del self.place

    def embedded(self, tokens):
        return self.tokens(tokens)


def without_table(name, attention):
    """A model class with this attention and no table of positions."""
    return type(name, (WithoutTable,), {"attention": attention, "__module__": __name__})


class LinearBias(Heads):
    """ALiBi (Press et al., 2022): scores fall with the distance."""

    def bias(self, length, device):
        at = torch.arange(length, device=device)
        slopes = 2.0 ** -torch.arange(1, self.n_heads + 1, device=device)
        return -slopes[:, None, None] * (at[:, None] - at).abs()


class RelativeBias(Heads):
    """A learned bias for each distance and head (Raffel et al., 2020, without buckets)."""

    def __init__(self, d_model: int, n_heads: int, length: int) -> None:
        super().__init__(d_model, n_heads, length)
        self.by_distance = nn.Embedding(length, n_heads)

    def distances(self, at):
        return (at[:, None] - at).clamp(min=0)

    def bias(self, length, device):
        found = self.by_distance(self.distances(torch.arange(length, device=device)))
        return found.permute(2, 0, 1)


class NeighbourRotary(Heads):
    """Rotary positions on neighbouring pairs of features (GPT-J)."""

    def angles(self, x):
        K = x.shape[-1]
        rates = 100.0 ** (-torch.arange(0, K, 2, device=x.device) / K)
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * rates
        return angles.repeat_interleave(2, dim=-1)  # (T, K)

    def quarter(self, x):
        return torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)

    def rotate(self, x):
        angles = self.angles(x)
        return x * angles.cos() + self.quarter(x) * angles.sin()

    def turned(self, q, k, v):
        return self.rotate(q), self.rotate(k), v


class Sinks(Heads):
    """A window of four positions, and the first position is always visible (Xiao et al., 2024)."""

    def bias(self, length, device):
        at = torch.arange(length, device=device)
        seen = ((at[:, None] - at) < 4) | (at == 0)
        return torch.zeros(length, length, device=device).masked_fill(~seen, float("-inf"))


LinearBiasModel = without_table("LinearBiasModel", LinearBias)
RelativeBiasModel = without_table("RelativeBiasModel", RelativeBias)
NeighbourRotaryModel = without_table("NeighbourRotaryModel", NeighbourRotary)


class SinksModel(HeadsModel):
    attention = Sinks


class ParallelScaled(nn.Module):
    """Attention with one key-value head and feed-forward in parallel, each with LayerScale."""

    def __init__(self, d_model: int, n_heads: int = 4) -> None:
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.norm = nn.RMSNorm(d_model)
        self.into = nn.Linear(d_model, d_model + 2 * self.d_head + 2 * d_model, bias=False)
        self.out = nn.Linear(3 * d_model, d_model, bias=False)
        self.scale = nn.Parameter(torch.full((d_model,), 0.1))

    def forward(self, x):
        D, K = x.shape[-1], self.d_head
        q, k, v, h = self.into(self.norm(x)).split([D, K, K, 2 * D], dim=-1)
        q = q.unflatten(-1, (self.n_heads, K)).transpose(1, 2)
        scores = q @ k[:, None].transpose(-1, -2) / math.sqrt(K)
        weights = scores.masked_fill(later(x.shape[1], x.device), -1e9).softmax(-1)
        attended = (weights @ v[:, None]).transpose(1, 2).flatten(2)
        return x + self.scale * self.out(torch.cat([attended, F.gelu(h)], dim=-1))


class ParallelModel(Language):
    def make_layer(self, d_model, length):
        return ParallelScaled(d_model)


class TopOne(nn.Module):
    """One of four experts per token, times its probability (Fedus et al., 2022).

    All experts are computed, which is cheap at this size.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.router = nn.Linear(d_model, 4, bias=False)
        self.experts = nn.ModuleList(feed_forward(d_model) for _ in range(4))

    def chosen(self, scores):
        numbers = torch.arange(4, device=scores.device)
        return (scores.argmax(-1, keepdim=True) == numbers).to(scores.dtype)

    def gates(self, x):
        shares = self.router(x).softmax(-1)
        return shares * self.chosen(shares)

    def forward(self, x):
        each = torch.stack([expert(x) for expert in self.experts], dim=-2)
        return (self.gates(x)[..., None] * each).sum(-2)


class TopOneModel(HeadsModel):
    feed = TopOne


class GatedFeed(nn.Module):
    """A gated linear unit whose two halves come from one projection (Dauphin et al., 2017)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.both = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(2 * d_model, d_model)

    def halves(self, x):
        return self.both(x).chunk(2, dim=-1)

    def forward(self, x):
        value, gate = self.halves(x)
        return self.down(value * torch.sigmoid(gate))


class GatedModel(HeadsModel):
    feed = GatedFeed


class DropoutFeed(nn.Module):
    """A feed-forward network with dropout of its hidden units in training."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(d_model, 3 * d_model), nn.Linear(3 * d_model, d_model)

    def forward(self, x):
        return self.down(F.dropout(F.relu(self.up(x)), 0.1, self.active()))

    def active(self):
        return self.training


class DropoutModel(HeadsModel):
    feed = DropoutFeed
