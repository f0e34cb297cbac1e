"""Mistakes in masks, scores, softmax and heads."""

# ruff: noqa: E501 (tables of words and names)

import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.doctor_blind.parts import (
    GPT,
    Attention,
    Bug,
    CausalConv,
    CharLSTM,
    ConvNet,
    DiagonalSSM,
    Llama,
    PyTorchTransformer,
    RopeAttention,
    StateSpaceLM,
    gpt_with,
    llama_with,
)  # fmt: skip

NO_MASK = (r"\bmask", r"causal", r"future", r"later (token|position)")
BUGS: list[Bug] = []


def gpt(name, cause, words, **flags):
    """Registers a GPT with this attention."""

    def add(attention):
        made = gpt_with("".join(name.title().split()), attention=attention)
        BUGS.append(Bug(name, made, cause, tuple(words), GPT, **flags))
        return attention

    return add


def llama(name, cause, words, **flags):
    def add(attention):
        made = llama_with("".join(name.title().split()), attention=attention)
        BUGS.append(Bug(name, made, cause, tuple(words), Llama, **flags))
        return attention

    return add


@gpt("no mask", "the causal mask is missing", NO_MASK)
class Unmasked(Attention):
    def masked(self, scores):
        return scores


@llama(
    "mask only in training", "the causal mask is missing in evaluation",
    [r"(only|missing).*(train|eval)", r"evaluation mode", r"train.* (but|and) .*eval"],
)  # fmt: skip
class MaskTraining(RopeAttention):
    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.training)


@llama(
    "mask only in evaluation", "the causal mask is missing in training",
    [r"(only|missing).*(train|eval)", r"training mode", r"eval.* (but|and) .*train"],
)  # fmt: skip
class MaskEvaluation(RopeAttention):
    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=not self.training)


@gpt(
    "mask sees next", "the mask is off by one: each position sees the next token",
    [r"off by one", r"next (token|position)", r"diagonal", r"one (token|position) (too far|ahead)"],
)  # fmt: skip
class SeesNext(Attention):
    def make_mask(self, max_len):
        return torch.tril(torch.ones(max_len, max_len), diagonal=1).bool()


@gpt(
    "mask without diagonal", "the mask hides a token from itself, so the first row is all -inf: NaN",
    [r"diagonal", r"itself", r"(fully|all|completely|entirely).*masked", r"nan.*(mask|softmax)",
     r"nothing to attend", r"no (visible|allowed)"], finite=False, trains=False,
)  # fmt: skip
class NoDiagonal(Attention):
    def make_mask(self, max_len):
        return torch.tril(torch.ones(max_len, max_len), diagonal=-1).bool()


@gpt(
    "mask reversed", "the mask is transposed: a position sees only later tokens",
    [r"reversed", r"inverted", r"transposed", r"triu", r"upper", r"only.*(future|later)",
     r"wrong (way|direction|sign)"][:6],
)  # fmt: skip
class Upper(Attention):
    def make_mask(self, max_len):
        return torch.triu(torch.ones(max_len, max_len)).bool()


@gpt(
    "mask after softmax", "the mask is applied after the softmax, whose sum includes the future",
    [r"after.*softmax", r"softmax.*before.*mask", r"do not sum to (1|one)", r"sum.*(less|below)"],
)  # fmt: skip
class AfterSoftmax(Attention):
    def weights(self, q, k):
        T = q.shape[2]
        return self.normalize(self.scores(q, k)) * self.tril[:T, :T]


@gpt(
    "mask of zeros", "masked scores are set to 0 before the softmax, not to -inf",
    [r"zero.*(score|mask|-inf)", r"\b0\b.*-inf", r"-inf", r"not.*infinit"],
)  # fmt: skip
class ZeroScores(Attention):
    def masked(self, scores):
        T = scores.shape[-1]
        return scores * self.tril[:T, :T]


@llama(
    "float mask added", "a mask of ones and zeros is added to the scores, so it masks nothing",
    [r"float", r"added", r"additive", r"-inf", r"(ones|1) and (zeros|0)", r"boolean"],
)  # fmt: skip
class FloatMask(RopeAttention):
    def attend(self, q, k, v):
        mask = torch.tril(torch.ones(q.shape[2], q.shape[2], device=q.device))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@gpt(
    "one head unmasked", "the mask is applied to the first head only",
    [r"(one|some|first|each|other|single) heads?", r"head \d", r"per head", r"heads? .*(mask)"],
)  # fmt: skip
class HeadUnmasked(Attention):
    def masked(self, scores):
        return torch.cat([super().masked(scores[:, :1]), scores[:, 1:]], dim=1)


@gpt(
    "window both ways", "the sliding window also covers later tokens",
    [r"window", r"causal", r"future", r"later (token|position)"],
)  # fmt: skip
class Window(Attention):
    def make_mask(self, max_len):
        at = torch.arange(max_len)
        return (at[:, None] - at).abs() < 4


class LastUnmasked(GPT):
    def make_blocks(self, d_model, length):
        blocks = super().make_blocks(d_model, length)
        blocks[-1].attn.tril.fill_(True)
        return blocks


class BiLSTM(CharLSTM):
    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__(vocab_size, hidden)
        self.lstm = nn.LSTM(hidden, hidden // 2, batch_first=True, bidirectional=True)


class SameConv(CausalConv):
    def forward(self, x):
        return self.conv(F.pad(x.transpose(1, 2), (self.left // 2, self.left // 2))).transpose(1, 2)


class SameConvNet(ConvNet):
    conv_class = SameConv


class BackwardSSM(DiagonalSSM):
    def scan(self, u):
        return super().scan(u.flip(1)).flip(1)


class BackwardLM(StateSpaceLM):
    mixer = BackwardSSM


class NotBatchFirst(PyTorchTransformer):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        for layer in self.encoder.layers:
            layer.self_attn.batch_first = False

    def forward(self, tokens):
        x = self.embedded(tokens)
        for layer in self.encoder.layers:
            x = layer.norm1(x + layer.self_attn(x, x, x, need_weights=False)[0])
            x = layer.norm2(x + layer.linear2(F.relu(layer.linear1(x))))
        return self.decoder(x)


class SequenceFirstGRU(nn.Module):
    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab_size, hidden)
        self.gru = nn.GRU(hidden, hidden)
        self.out = nn.Linear(hidden, vocab_size)

    def forward(self, tokens):
        return self.out(self.gru(self.emb(tokens))[0])


class NoTransformerMask(PyTorchTransformer):
    def mask(self, tokens):
        return None


BATCH = (r"batch_first", r"batch and (the )?(sequence|time)", r"(across|over|between|mix).*(sample|batch)",
         r"other samples", r"samples? .*(batch|depend)")  # fmt: skip
BUGS += [
    Bug("last block unmasked", LastUnmasked, "the last block has no causal mask", NO_MASK, GPT),
    Bug("encoder without mask", NoTransformerMask, "the encoder gets no causal mask", NO_MASK,
        PyTorchTransformer),
    Bug("bidirectional lstm", BiLSTM, "the LSTM is bidirectional", (r"bidirectional",
        r"both directions", r"backward"), CharLSTM),
    Bug("centred convolution", SameConvNet, "the convolution is centred and sees later tokens",
        (r"convolution", r"padding", r"\bconv", r"cent(er|re)d"), ConvNet),
    Bug("backward scan", BackwardLM, "the recurrence runs from the end to the start",
        (r"backward", r"revers", r"from the end", r"only.*(later|future)", r"flip"), StateSpaceLM),
    Bug("attention over batch", NotBatchFirst, "attention runs over the batch axis", BATCH,
        PyTorchTransformer),
    Bug("gru over batch", SequenceFirstGRU, "the GRU runs over the batch: batch_first is missing",
        BATCH),
]  # fmt: skip


@gpt("no scale", "the scores are not divided by sqrt(d_head)",
     [r"scale", r"sqrt", r"1/√", r"not divided"])  # fmt: skip
class NoScale(Attention):
    def scores(self, q, k):
        return q @ k.transpose(-2, -1)


@llama("scaled twice", "the scores are scaled twice", [r"scale", r"twice", r"sqrt"])
class ScaledTwice(RopeAttention):
    def attend(self, q, k, v):
        return super().attend(q / math.sqrt(self.d_head), k, v)


@gpt("scale multiplied", "the scores are multiplied by sqrt(d_head) instead of divided",
     [r"scale", r"sqrt", r"multipl"])  # fmt: skip
class Multiplied(Attention):
    def scores(self, q, k):
        return q @ k.transpose(-2, -1) * math.sqrt(self.d_head)


@gpt("softmax over queries", "the softmax runs over the query axis",
     [r"softmax.*(axis|dim|quer)", r"quer.*axis", r"(axis|dim).*softmax", r"wrong (axis|dim)"])  # fmt: skip
class OverQueries(Attention):
    def normalize(self, scores):
        return scores.softmax(dim=-2)


@gpt("softmax over heads", "the softmax runs over the head axis",
     [r"softmax.*(axis|dim|head)", r"head.*axis", r"(axis|dim).*softmax", r"wrong (axis|dim)"],
     finite=False, trains=False)  # fmt: skip
class OverHeads(Attention):
    def normalize(self, scores):
        return scores.softmax(dim=1)


@gpt("heads viewed", "heads are split by view without transposing head and time axes",
     [r"split", r"view", r"reshape", r"transpos", r"heads?.*(mix|axis|merge)"])  # fmt: skip
class Viewed(Attention):
    def split(self, x):
        B, T, _ = x.shape
        return x.reshape(B, self.n_heads, T, self.d_head)


@gpt("heads merged wrongly", "heads are merged without transposing back",
     [r"merge", r"view", r"reshape", r"transpos", r"heads?.*(mix|axis|split)"])  # fmt: skip
class Merged(Attention):
    def merge(self, x):
        B, H, T, K = x.shape
        return x.reshape(B, T, H * K)


@gpt("one head used", "only the first head's output is used",
     [r"(one|first|single) head", r"head.*(unused|not used|ignored|no effect|no gradient)",
      r"other heads"])  # fmt: skip
class OneHead(Attention):
    def merge(self, x):
        return super().merge(x[:, :1].expand_as(x))


@gpt("attention detached", "the attention weights are detached: queries and keys get no gradient",
     [r"detach", r"no gradient", r"without gradient", r"gradient.*(zero|missing|none)"])  # fmt: skip
class Detached(Attention):
    def weights(self, q, k):
        return super().weights(q, k).detach()


@gpt("values unused", "the keys are averaged in place of the values, which are unused",
     [r"value", r"\bv\b", r"unused", r"no gradient", r"no effect"])  # fmt: skip
class KeysForValues(Attention):
    def forward(self, x):
        q, k, _ = self.project(x)
        return self.proj(self.merge(self.weights(q, k) @ k))


@gpt("last query for all", "all positions use the query of the last position",
     [r"last (query|position|token)", r"same query", r"query.*all"])  # fmt: skip
class LastQuery(Attention):
    def scores(self, q, k):
        return super().scores(q[:, :, -1:].expand_as(q), k)
