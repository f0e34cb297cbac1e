"""Mistakes and healthy models of further kinds: caches, prefixes, memory, copies, residuals."""

# ruff: noqa: E501 (tables of words and names)

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ablab.tasks.base import Batch
from tests.doctor_blind.bugs_tasks import Own, Settings
from tests.doctor_blind.parts import (
    GPT,
    MLP,
    Attention,
    Block,
    Bug,
    CausalConv,
    CharLSTM,
    ConvNet,
    DiagonalSSM,
    Healthy,
    Llama,
    PyTorchTransformer,
    RMSNorm,
    RopeAttention,
    StateSpaceLM,
    gpt_with,
    llama_with,
)  # fmt: skip


class CachedKeys(Attention):
    """Keys of earlier calls are kept and read again."""

    cache = None

    def forward(self, x):
        q, k, v = self.project(x)
        if self.cache is not None and self.cache.shape == k.shape:
            k = 0.5 * (k + self.cache)
        self.cache = k.detach()
        return self.proj(self.merge(self.weights(q, k) @ v))


class IgnoresEval(MLP):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        self.drop.training = True
        return F.dropout(super().forward(x), 0.2, training=self.drop.training)


class DoubleResidual(Block):
    def forward(self, x):
        x = x + (x + self.attn(self.ln1(x)))
        return x + (x + self.mlp(self.ln2(x)))


class DriftingCopy(GPT):
    """The head copies the embedding once, and is trained apart from it."""

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        self.head.weight = nn.Parameter(self.tok_emb.weight.detach().clone())


class PaddingAsKeys(PyTorchTransformer):
    """The padding mask is inverted: it hides ordinary tokens and shows padding."""

    def forward(self, tokens):
        hidden = tokens != 0
        hidden = hidden & ~(hidden.all(1, keepdim=True))
        x = self.encoder(
            self.embedded(tokens), mask=self.mask(tokens).bool(), src_key_padding_mask=hidden
        )
        return self.decoder(x.nan_to_num())


class WholePrefix(Attention):
    """A prefix-LM whose prefix is the whole sample."""

    def masked(self, scores):
        T = scores.shape[-1]
        allowed = self.tril[:T, :T] | (torch.arange(T) < T)
        return scores.masked_fill(~allowed, float("-inf"))


class MemorySteps(nn.Module):
    """Memory that is read over several steps; the steps mix the samples."""

    def __init__(self, vocab_size: int = 16, width: int = 16) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab_size, width)
        self.cell = nn.GRUCell(width, width)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.emb(tokens)
        memory, found = torch.zeros_like(x[:, 0]), []
        for t in range(tokens.shape[1]):
            memory = self.cell(x[:, t], memory.mean(0, keepdim=True).expand_as(memory))
            found.append(memory)
        return self.out(torch.stack(found, 1))


class ResetMemory(MemorySteps):
    """The memory is made anew at each position, so nothing earlier is known."""

    def forward(self, tokens):
        x = self.emb(tokens)
        return self.out(
            torch.stack(
                [self.cell(x[:, t], torch.zeros_like(x[:, t])) for t in range(x.shape[1])], 1
            )
        )


class GlobalPool(GPT):
    """The mean over all positions is added."""

    def body(self, x):
        x = super().body(x)
        return x + x.mean(1, keepdim=True)


class CumulativeFromEnd(ConvNet):
    def forward(self, tokens):
        x = self.emb(tokens)
        x = x + x.flip(1).cumsum(1).flip(1) / tokens.shape[1]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + F.relu(conv(norm(x)))
        return self.out(x)


class LateConv(CausalConv):
    """Padded by one too many: a position does not see its own token."""

    def forward(self, x):
        return self.conv(F.pad(x.transpose(1, 2), (self.left + 1, 0)))[..., :-1].transpose(1, 2)


class LateConvNet(nn.Module):
    def __init__(self, vocab_size: int = 16, width: int = 16) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab_size, width)
        self.first, self.second = LateConv(width), LateConv(width)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.out(F.relu(self.second(F.relu(self.first(self.emb(tokens))))))


class FlatHeads(Attention):
    """All heads give their mean."""

    def merge(self, x):
        return super().merge(x.mean(1, keepdim=True).expand_as(x))


class StuckGate(nn.Module):
    """A gate that is always zero in front of the MLP."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.inner = MLP(d_model)

    def forward(self, x):
        return self.inner(x) * torch.relu(-torch.ones_like(x))


class SharedNoise(GPT):
    """A mask of dropout that NumPy draws in both modes."""

    def embed(self, tokens):
        x = super().embed(tokens)
        mask = np.random.default_rng().random(tuple(x.shape)) > 0.1
        return x * torch.from_numpy(mask).to(x.dtype)


def bug_task(name, cause, words):
    def add(task):
        body = {
            "__annotations__": {"kind": str},
            "kind": f"{__name__}:{task.__name__}",
            "__module__": __name__,
        }
        task.Config = type(f"{task.__name__}Config", (Settings,), body)
        globals()[task.Config.__name__] = task.Config
        TASKS.append(Bug(name, task, cause, words))
        return task

    return add


TASKS: list[Bug] = []


@bug_task(
    "wrong slice",
    "the predicted positions are one too early",
    (r"shift", r"one position", r"off by one", r"slice", r"predicted"),
)
class EarlySlice(Own):
    @property
    def predicted(self):
        usual = super().predicted
        return slice(usual.start - 1, usual.stop - 1 if usual.stop else -1)


@bug_task(
    "swapped samples",
    "targets belong to the next sample of the batch",
    (r"other samples?", r"belong", r"next sample", r"not depend", r"roll"),
)
class NextSample(Own):
    def _batch(self, sequences):
        batch = super()._batch(sequences)
        return Batch(batch.tokens, np.roll(batch.targets, 1, axis=-2))


@bug_task(
    "held-out seed",
    "held-out samples depend on a counter",
    (r"call to call", r"held.?out.*(differ|random)", r"each call"),
)
class CountedHeldOut(Own):
    calls = 0

    def held_out(self, samples):
        type(self).calls += 1
        return self._made(np.random.default_rng(type(self).calls), samples, held_out=True)


BUGS = [
    Bug("cached keys", gpt_with("CachedGPT", attention=CachedKeys), "keys of the previous call are mixed in", (r"cache", r"state", r"previous call")),
    Bug("eval ignored", gpt_with("IgnoresEvalGPT", mlp_class=IgnoresEval), "dropout stays active in evaluation", (r"dropout.*evaluation", r"active in evaluation")),
    Bug("residual twice", type("DoubleGPT", (GPT,), {"block": type("DoubleBlock", (DoubleResidual,), {})}), "the residual is added twice", (r"residual.*(twice|double)", r"(twice|double).*residual", r"grow")),
    Bug("drifting copy", DriftingCopy, "the head is a copy of the embedding, not tied to it", (r"copy", r"cop(y|ies) of", r"equal.*start", r"not tied")),
    Bug("padding mask inverted", PaddingAsKeys, "the padding mask hides ordinary tokens", (r"padding.*mask", r"mask.*padding", r"inverted")),
    Bug("prefix of everything", gpt_with("PrefixGPT", attention=WholePrefix), "the prefix of the mask covers everything", (r"mask (is )?missing", r"causal mask", r"prefix")),
    Bug("memory of the batch", MemorySteps, "the memory is averaged over the samples", (r"batch", r"other samples")),
    Bug("memory reset", ResetMemory, "the memory is reset at each position", (r"reset", r"earlier tokens?", r"only.*own", r"no memory")),
    Bug("pooled over positions", GlobalPool, "a mean over all positions is added", (r"mean over", r"pool", r"sum over", r"average")),
    Bug("sum from the end", CumulativeFromEnd, "a sum over later positions is added", (r"backward", r"flip", r"revers", r"from the end", r"cumulative", r"cumsum", r"sum over")),
    Bug("convolution too late", LateConvNet, "the convolutions are padded by one too many", (r"padd", r"shift", r"one position", r"own token")),
    Bug("heads averaged", gpt_with("FlatHeadsGPT", attention=FlatHeads), "the heads are averaged", (r"averag", r"mean over.*heads", r"same for all heads")),
    Bug("gate stuck", gpt_with("GateGPT", mlp_class=StuckGate), "the MLP is multiplied by a gate of zero", (r"multiplied by zero", r"gate", r"gradient of zeros", r"no gradient")),
    Bug("numpy noise", SharedNoise, "random numbers of NumPy in both modes", (r"noise", r"random", r"numpy")),
    *TASKS,
]  # fmt: skip


class ScaledEmbedding(Llama):
    def forward(self, tokens):
        x = self.embed(tokens) * math.sqrt(self.embed.embedding_dim)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


class SoftCap(Llama):
    """Logits are capped by a tanh (Gemma 2)."""

    def forward(self, tokens):
        return 30 * torch.tanh(super().forward(tokens) / 30)


class Quarters(Attention):
    """Queries and keys are each divided by d_head ** 0.25."""

    def scores(self, q, k):
        scale = self.d_head**-0.25
        return (q * scale) @ (k * scale).transpose(-2, -1)


class Einsum(Attention):
    def scores(self, q, k):
        return torch.einsum("bhik,bhjk->bhij", q, k) * self.d_head**-0.5


class ScaledQueries(Attention):
    def scores(self, q, k):
        return (q * self.d_head**-0.5) @ k.transpose(-2, -1)


class MultiQueryPart(RopeAttention):
    """Rotary positions on half of the features (GPT-NeoX)."""

    def tables(self, max_len):
        cos, sin = super().tables(max_len)
        half = cos.shape[1] // 2
        return torch.cat([cos[:, :half], torch.ones_like(cos[:, half:])], 1), torch.cat(
            [sin[:, :half], torch.zeros_like(sin[:, half:])], 1
        )


class Bottleneck(MLP):
    """A linear bottleneck of low rank, which is meant to be linear."""

    def __init__(self, d_model: int) -> None:
        nn.Module.__init__(self)
        self.down = nn.Linear(d_model, d_model // 4)
        self.up = nn.Linear(d_model // 4, d_model)

    def forward(self, x):
        return F.gelu(self.up(self.down(x)))


class ZeroHead(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        nn.init.zeros_(self.head.weight)


class ZeroBranches(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        for block in self.blocks:
            nn.init.zeros_(block.attn.proj.weight)
            nn.init.zeros_(block.mlp.fc2.weight)


class EncoderWithPadding(PyTorchTransformer):
    """A causal encoder that also hides padding (token 15, which does not occur)."""

    def forward(self, tokens):
        x = self.encoder(
            self.embedded(tokens), mask=self.mask(tokens) != 0, src_key_padding_mask=tokens == 15
        )
        return self.decoder(x)


class StepMemory(MemorySteps):
    """A memory that is read and written at each position."""

    def forward(self, tokens):
        x = self.emb(tokens)
        memory, found = torch.zeros_like(x[:, 0]), []
        for t in range(tokens.shape[1]):
            for _ in range(2):
                memory = self.cell(x[:, t], memory)
            found.append(memory)
        return self.out(torch.stack(found, 1))


class Hybrid(StateSpaceLM):
    """State-space and attention layers in turn."""

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, d_model)
        self.mixers = nn.ModuleList([DiagonalSSM(d_model), Attention(d_model, 2, input_length)])


class Bidirectionless(CharLSTM):
    """Two LSTMs in a list, without residual connections."""

    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__(vocab_size, hidden)
        self.more = nn.ModuleList(nn.LSTM(hidden, hidden, batch_first=True) for _ in range(2))

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in (self.lstm, *self.more):
            x = layer(x)[0]
        return self.fc(x)


HEALTHY = [
    Healthy("scaled embedding", ScaledEmbedding), Healthy("capped logits", SoftCap),
    Healthy("queries and keys scaled", gpt_with("QuartersGPT", attention=Quarters)),
    Healthy("einsum", gpt_with("EinsumGPT", attention=Einsum)),
    Healthy("queries scaled", gpt_with("ScaledQueriesGPT", attention=ScaledQueries)),
    Healthy("partial rotary", llama_with("PartialLlama", attention=MultiQueryPart)),
    Healthy("bottleneck", gpt_with("BottleneckGPT", mlp_class=Bottleneck)),
    Healthy("zero head", ZeroHead), Healthy("zero branches", ZeroBranches),
    Healthy("encoder with padding mask", EncoderWithPadding), Healthy("memory with steps", StepMemory),
    Healthy("hybrid", Hybrid), Healthy("three lstms", Bidirectionless),
    Healthy("rms gpt", gpt_with("RmsTwoGPT", norm=RMSNorm, mlp_class=MLP)),
]  # fmt: skip
