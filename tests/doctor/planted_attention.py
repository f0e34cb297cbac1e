"""Plain models with a mistake in attention each; ``planted`` is the check and words of its cause.

Axes: B batch, T sequence, H heads, K head.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.doctor_blind.parts import (
    GPT,
    MLP,
    Attention,
    Block,
    Llama,
    PyTorchTransformer,
    RopeAttention,
    gpt_with,
    llama_with,
    rotate,
)  # fmt: skip


def planted(check, words):
    """Marks a class with the check that names its mistake, and words of the cause."""

    def mark(model):
        model.planted = (check, words)
        return model

    return mark


class TorchAttention(nn.Module):
    """nn.MultiheadAttention with a causal mask, in place of one written by hand."""

    batch_first = True
    need_weights = True

    def __init__(self, d_model, n_heads, max_len):
        super().__init__()
        self.mha = nn.MultiheadAttention(d_model, n_heads, batch_first=self.batch_first)

    def mask(self, x):
        return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)

    def forward(self, x):
        return self.mha(x, x, x, attn_mask=self.mask(x), need_weights=self.need_weights)[0]


class HealthyTorch(gpt_with("TorchGPT", attention=TorchAttention)):
    pass


class WithoutWeights(TorchAttention):
    need_weights = False


class HealthyFused(gpt_with("FusedGPT", attention=WithoutWeights)):
    pass


class NoMaskInside(TorchAttention):
    def mask(self, x):
        return None


@planted("causality", "The causal mask is missing")
class TorchUnmasked(gpt_with("UnmaskedGPT", attention=NoMaskInside)):
    pass


@planted("causality", "The causal mask is missing")
class FusedUnmasked(
    gpt_with("FusedUnmaskedGPT", attention=type("A", (NoMaskInside,), {"need_weights": False}))
):
    pass


class SeesNext(WithoutWeights):
    def mask(self, x):
        return super().mask(x).triu(2)


@planted("causality", "off by one: each position sees the next token")
class TorchSeesNext(gpt_with("NextGPT", attention=SeesNext)):
    pass


class TrueShows(TorchAttention):
    """A mask for scaled_dot_product_attention, in which True shows."""

    def mask(self, x):
        return ~super().mask(x)


@planted("forward", "The causal mask is inverted or transposed")
class TorchInverted(gpt_with("TrueShowsGPT", attention=TrueShows)):
    pass


class OverBatch(TorchAttention):
    batch_first = False

    def mask(self, x):
        return None


class BatchOnce(Block):
    """One of two attention layers runs over the batch."""

    made = 0

    def __init__(self, d_model, n_heads, max_len):
        super().__init__(d_model, n_heads, max_len)
        BatchOnce.made += 1
        if BatchOnce.made % 2 == 0:
            self.attn = OverBatch(d_model, n_heads, max_len)


@planted("samples", "Batch and sequence axes are swapped")
class TorchOverBatch(GPT):
    block = BatchOnce


class PaddingHidden(PyTorchTransformer):
    def hidden(self, tokens):
        return tokens == 0

    def forward(self, tokens):
        x = self.embedded(tokens)
        mask = self.mask(tokens) != 0
        x = self.encoder(x, mask=mask, src_key_padding_mask=self.hidden(tokens))
        return self.decoder(x)


@planted("attention", "The padding mask is inverted")
class PaddingInverted(PaddingHidden):
    """On a task with padding 0; the first token is always seen."""

    def hidden(self, tokens):
        hidden = tokens != 0
        hidden[:, 0] = False
        return hidden


@planted("attention", "hides ordinary tokens")
class OrdinaryHidden(PaddingHidden):
    """Token 1 occurs in the task like any other; position 0 stays visible."""

    def hidden(self, tokens):
        hidden = tokens == 1
        hidden[:, 0] = False
        return hidden


class AllHidden(TorchAttention):
    def forward(self, x):
        padding = torch.ones(x.shape[:2], dtype=torch.bool)
        return self.mha(x, x, x, attn_mask=self.mask(x), key_padding_mask=padding)[0]


@planted("forward", "The padding mask is inverted")
class TorchAllHidden(gpt_with("AllHiddenGPT", attention=AllHidden)):
    pass


class Averaged(Attention):
    def merge(self, x):
        return super().merge(x.mean(1, keepdim=True).expand_as(x))


@planted("attention", "The mean over the heads")
class AveragedHeads(gpt_with("AveragedGPT", attention=Averaged)):
    pass


class OnePattern(Attention):
    def weights(self, q, k):
        w = super().weights(q, k)
        return w.mean(1, keepdim=True).expand_as(w)


@planted("attention", "The mean over the heads")
class AveragedPatterns(gpt_with("OnePatternGPT", attention=OnePattern)):
    pass


class OneQuery(Attention):
    def project(self, x):
        q, k, v = super().project(x)
        return q[:, :1].expand_as(q), k[:, :1].expand_as(k), v


@planted("attention", "All heads use the same queries and keys")
class EqualHeads(gpt_with("OneQueryGPT", attention=OneQuery)):
    pass


class Strict(Attention):
    """Hides each token from itself, except the first one."""

    def make_mask(self, max_len):
        mask = super().make_mask(max_len).tril(-1)
        mask[0, 0] = True
        return mask


@planted("attention", "hides each token from itself")
class NotItself(gpt_with("StrictGPT", attention=Strict)):
    pass


class ByModelWidth(Attention):
    def scores(self, q, k):
        return q @ k.transpose(-2, -1) / math.sqrt(self.d_head * self.n_heads)


@planted("attention", "sqrt(d_model) instead of sqrt(d_head)")
class WidthOfModel(gpt_with("ByModelWidthGPT", attention=ByModelWidth)):
    pass


class Twice(Attention):
    def normalize(self, scores):
        return scores.softmax(-1).softmax(-1)


@planted("causality", "The softmax is applied twice")
class SoftmaxTwice(gpt_with("TwiceGPT", attention=Twice)):
    pass


class FiniteMask(Attention):
    def masked(self, scores):
        T = scores.shape[-1]
        return scores.masked_fill(~self.tril[:T, :T], -10.0)


@planted("causality", "a finite number that is too small")
class SmallMask(gpt_with("FiniteMaskGPT", attention=FiniteMask)):
    pass


class RotatedValues(RopeAttention):
    def attend(self, q, k, v):
        return super().attend(q, k, rotate(v, self.cos[: v.shape[2]], self.sin[: v.shape[2]]))


@planted("rotary", "applied to the values")
class ValuesRotated(llama_with("RotatedValuesLlama", attention=RotatedValues)):
    pass


class Alibi(Attention):
    sign = -1

    def scores(self, q, k):
        at = torch.arange(q.shape[2], device=q.device)
        slopes = 2.0 ** (-4 * torch.arange(1, self.n_heads + 1, device=q.device))
        bias = self.sign * slopes[:, None, None] * (at[:, None] - at)
        return super().scores(q, k) + bias


class AlibiBase(GPT):
    sign = -1

    def make_blocks(self, d_model, length):
        block = type(
            "AlibiBlock", (Block,), {"attention": type("A", (Alibi,), {"sign": self.sign})}
        )
        return nn.ModuleList(block(d_model, self.n_heads, length) for _ in range(self.n_layers))

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16):
        super().__init__(vocab_size, input_length, d_model)
        del self.pos_emb

    def embed(self, tokens):
        return self.tok_emb(tokens)


class HealthyAlibi(AlibiBase):
    pass


@planted("rotary", "has the wrong sign, so far tokens are favoured")
class AlibiSign(AlibiBase):
    sign = 1


class SharedKeys(nn.Module):
    """Grouped-query attention with four heads and two heads of keys and values."""

    def repeated(self, keys, values):
        return keys.repeat_interleave(2, 1), values.repeat_interleave(2, 1)

    def __init__(self, d_model, n_heads, max_len):
        super().__init__()
        self.q, self.kv = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x):
        q = self.q(x).unflatten(-1, (4, -1)).transpose(1, 2)
        k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.kv(x).chunk(2, dim=-1))
        k, v = self.repeated(k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class HealthyGroups(gpt_with("SharedGPT", attention=SharedKeys)):
    pass


class Mixed(SharedKeys):
    def repeated(self, keys, values):
        return keys.repeat_interleave(2, 1), values.repeat(1, 2, 1, 1)


@planted("attention", "repeated in different orders")
class MixedGroups(gpt_with("MixedGPT", attention=Mixed)):
    pass


class Tiled(SharedKeys):
    def repeated(self, keys, values):
        return keys.repeat(1, 2, 1, 1), values.repeat(1, 2, 1, 1)


@planted("attention", "tiled (repeat)")
class TiledGroups(gpt_with("TiledGPT", attention=Tiled)):
    pass


class HealthyLlama(Llama):
    pass


class HealthyMLP(gpt_with("PlainGPT", mlp_class=MLP)):
    pass
