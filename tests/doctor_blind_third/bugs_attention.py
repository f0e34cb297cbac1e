"""Mistakes in transformers of ``torch.nn`` modules."""

import torch

from tests.doctor_blind.parts import Bug
from tests.doctor_blind_third.attention_parts import (
    DecoderStack,
    DropoutFeed,
    DropoutModel,
    GatedFeed,
    GatedModel,
    Language,
    LinearBias,
    LinearBiasModel,
    MhaLayer,
    MhaModel,
    NeighbourRotary,
    NeighbourRotaryModel,
    RelativeBias,
    RelativeBiasModel,
    TopOne,
    TopOneModel,
    later,
    without_table,
)

FUTURE = (r"\bmask", r"causal", r"future", r"later (token|position)")
BUGS: list[Bug] = []


def bug(name, cause, sibling, *words, **flags):
    """Registers a model."""

    def add(model):
        BUGS.append(Bug(name, model, cause, words, sibling, **flags))
        return model

    return add


def attention_bug(name, cause, sibling, *words):
    """Registers a model without a table of positions and with this attention."""

    def add(attention):
        made = without_table(f"{attention.__name__}Model", attention)
        made.__module__ = __name__
        globals()[made.__name__] = made
        BUGS.append(Bug(name, made, cause, words, sibling))
        return attention

    return add


@bug(
    "mask in the other convention",
    "nn.MultiheadAttention hides positions where its mask is True; this one is True for the past",
    MhaModel,
    r"invert",
    r"revers",
    r"transposed",
    r"only.*(future|later)",
    r"wrong (way|direction)",
    r"convention",
)
class VisibleMask(MhaModel):
    class Layer(MhaLayer):
        def hidden(self, x):
            return later(x.shape[1], x.device).transpose(0, 1)

    def make_layer(self, d_model, length):
        return self.Layer(d_model)


@bug(
    "symbol zero taken for padding",
    "token 0 is hidden as padding, although it is an ordinary symbol",
    MhaModel,
    r"padding",
    r"token 0",
    r"symbol 0",
    r"(hidden|ignored|masked|no effect).*token",
    r"token.*(hidden|ignored|masked|no effect|not seen|invisible)",
)
class ZeroHidden(MhaModel):
    """Each position still sees itself, so no row is fully masked."""

    def mixed(self, x, tokens):
        T = x.shape[1]
        own = torch.eye(T, dtype=torch.bool, device=x.device)
        hidden = later(T, x.device) | ((tokens == 0)[:, None] & ~own)
        for layer in self.layers:
            y = layer.norm1(x)
            mask = hidden.repeat_interleave(2, dim=0)  # (B * H, T, T)
            x = x + layer.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
            x = x + layer.feed(layer.norm2(x))
        return x


@bug(
    "memory without mask",
    "the cross-attention of nn.TransformerDecoder reads the same tokens without a causal mask",
    DecoderStack,
    *FUTURE,
    r"cross.?attention",
    r"memory",
)
class OpenMemory(DecoderStack):
    def mixed(self, x, tokens):
        return self.decoder(x, x, tgt_mask=later(x.shape[1], x.device))


@attention_bug(
    "distance rewarded",
    "the linear bias of ALiBi has the wrong sign: far keys are favoured",
    LinearBiasModel,
    r"\bsign\b",
    r"alibi",
    r"(far|distan(t|ce)|earliest|first (token|position)).*(more|favou?r|grow|dominat|only)",
    r"(more|favou?r|grow|dominat|only).*(far|distan(t|ce)|earliest|first (token|position))",
)
class Farthest(LinearBias):
    def bias(self, length, device):
        return -super().bias(length, device)


@attention_bug(
    "two rotary layouts",
    "the angles are laid out for neighbouring pairs, but the halves of a head are rotated",
    NeighbourRotaryModel,
    r"rotary",
    r"\brope\b",
    r"relative",
    r"interleav",
    r"pairs?\b",
    r"layout",
    r"halves",
)
class MixedLayouts(NeighbourRotary):
    def quarter(self, x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat([-second, first], dim=-1)


@attention_bug(
    "values rotated",
    "rotary positions are applied to the values as well",
    NeighbourRotaryModel,
    r"values?",
    r"\bv\b",
    r"relative",
    r"absolute position",
)
class RotatedValues(NeighbourRotary):
    def turned(self, q, k, v):
        return self.rotate(q), self.rotate(k), self.rotate(v)


@attention_bug(
    "distances clamped to zero",
    "distances are computed as key minus query and clamped at 0, so all biases are the same",
    RelativeBiasModel,
    r"clamp",
    r"\bsign\b",
    r"constant",
    r"same (position|bias|vector)",
    r"(no|without) (effect|position)",
    r"position.*(same|ignored|not used|no effect|missing|unused)",
    r"\border\b",
    r"(row|entr).*(unused|no gradient|never)",
)
class NegativeDistances(RelativeBias):
    def distances(self, at):
        return (at - at[:, None]).clamp(min=0)


@bug(
    "only the last layer counts",
    "each layer reads the embedding, so the results of the layers before the last are dropped",
    Language,
    r"unused",
    r"not used",
    r"no effect",
    r"no gradient",
    r"without gradient",
    r"dropped",
    r"discard",
    r"overwrit",
)
class LastLayerOnly(Language):
    def mixed(self, x, tokens):
        for layer in self.layers:
            y = layer(x)
        return y


class HardTopOne(TopOne):
    def gates(self, x):
        return self.chosen(self.router(x))


@bug(
    "router without gradient",
    "the chosen expert is not multiplied by its probability, so the router gets no gradient",
    TopOneModel,
    r"router",
    r"argmax",
    r"no gradient",
    r"without gradient",
    r"gradient.*(zero|none|missing)",
    r"not.*train",
)
class HardRouter(TopOneModel):
    feed = HardTopOne


class OneHalf(GatedFeed):
    def halves(self, x):
        value, _ = super().halves(x)
        return value, value


@bug(
    "gate by itself",
    "the value gates itself; the half of the projection that makes the gate is not used",
    GatedModel,
    r"\bgat(e|ed|ing)\b",
    r"\bhalf\b",
    r"unused",
    r"not used",
    r"no effect",
    r"(part|row|column|unit|output).*no gradient",
    r"no gradient.*(part|row|column|unit|output)",
)
class SelfGated(GatedModel):
    feed = OneHalf


class InvertedDropout(DropoutFeed):
    def active(self):
        return not self.training


@bug(
    "dropout inverted",
    "dropout is active in evaluation and off in training",
    DropoutModel,
    r"dropout",
    r"random.*eval",
    r"eval.*random",
    r"stochastic",
    r"determin",
)
class DropsInEvaluation(DropoutModel):
    feed = InvertedDropout
