"""Mistakes in positions."""

# ruff: noqa: E501 (tables of words and names)

import torch

from tests.doctor_blind.parts import GPT, Bug, Llama, RopeAttention, llama_with, rotate


class OnBatch(GPT):
    def positions(self, tokens):
        return self.pos_emb(torch.arange(tokens.shape[0]) % self.pos_emb.num_embeddings)[:, None]


class Constant(GPT):
    def positions(self, tokens):
        return self.pos_emb(torch.zeros_like(tokens))


class Clamped(GPT):
    def positions(self, tokens):
        return self.pos_emb(torch.arange(tokens.shape[1]).clamp(max=4))


class FromEnd(GPT):
    def positions(self, tokens):
        return self.pos_emb(torch.arange(tokens.shape[1]).flip(0))


class NotAdded(GPT):
    def embed(self, tokens):
        self.positions(tokens)
        return self.tok_emb(tokens)


class OnlyTraining(GPT):
    def embed(self, tokens):
        return super().embed(tokens) if self.training else self.tok_emb(tokens)


class Raw(GPT):
    def positions(self, tokens):
        return torch.arange(tokens.shape[1]).float()[:, None]


class QueriesOnly(RopeAttention):
    def rotated(self, q, k):
        return rotate(q, self.cos[: q.shape[2]], self.sin[: q.shape[2]]), k


class OppositeKeys(RopeAttention):
    def rotated(self, q, k):
        cos, sin = self.cos[: q.shape[2]], self.sin[: q.shape[2]]
        return rotate(q, cos, sin), rotate(k, cos, -sin)


class FirstAngle(RopeAttention):
    def rotated(self, q, k):
        return rotate(q, self.cos[:1], self.sin[:1]), rotate(k, self.cos[:1], self.sin[:1])


class OverHeads(RopeAttention):
    def rotated(self, q, k):
        def turned(x):
            H = x.shape[1]
            return rotate(x, self.cos[:H, None], self.sin[:H, None])

        return turned(q), turned(k)


NONE = (r"constant", r"same (position|vector|angle)", r"position.*(same|ignored|not used|no effect|missing)",
        r"(no|without) position", r"order")  # fmt: skip
BUGS = [
    Bug("positions of the batch", OnBatch, "positions are added along the batch axis",
        (r"batch", r"wrong axis", r"other samples", r"sample.*(position|index)"), GPT),
    Bug("constant position", Constant, "all tokens get the same position vector", NONE, GPT),
    Bug("positions clamped", Clamped, "all positions beyond 4 are the same",
        (r"beyond", r"clamp", r"(after|from) position", r"position.*same", r"position.*no gradient"),
        GPT),
    Bug("positions from the end", FromEnd, "positions are counted from the end",
        (r"from the end", r"length", r"prefix", r"revers"), GPT),
    Bug("positions not added", NotAdded, "positions are not added", (*NONE, r"not added"), GPT),
    Bug("positions in training only", OnlyTraining, "positions are missing in evaluation",
        (r"train.*eval", r"eval.*train", r"missing in evaluation"), GPT),
    Bug("raw positions", Raw, "the raw index of the position is added",
        (r"raw", r"grow", r"scale", r"magnitude", r"large"), GPT),
    Bug("rope on queries only", llama_with("QueryRope", attention=QueriesOnly),
        "rotary positions are applied to queries only",
        (r"quer.*only", r"keys? (is|are) not", r"relative", r"only.*quer", r"keys?.*(no|without) position"),
        Llama),
    Bug("rope turns keys back", llama_with("OppositeRope", attention=OppositeKeys),
        "keys are rotated the other way", (r"opposite", r"other way", r"relative", r"sign", r"direction"),
        Llama),
    Bug("rope of position zero", llama_with("ZeroRope", attention=FirstAngle),
        "all positions have the same angle", NONE, Llama),
    Bug("rope over heads", llama_with("HeadRope", attention=OverHeads),
        "rotary positions run over the head axis", (r"head", r"wrong axis", *NONE), Llama),
]  # fmt: skip
