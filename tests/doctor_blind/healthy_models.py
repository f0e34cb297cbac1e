"""Correct models that differ from a plain GPT."""

# ruff: noqa: E501 (tables of words and names)

import torch
from torch import nn
from torch.nn import functional as F

from ablab.tasks.modular import Modular
from ablab.tasks.recall import Recall
from ablab.tasks.sequences import Copy, Reverse, Roll
from tests.doctor_blind.parts import (
    GPT,
    MLP,
    Attention,
    Block,
    CharLSTM,
    ConvNet,
    DiagonalSSM,
    Healthy,
    Llama,
    PyTorchTransformer,
    RMSNorm,
    RopeAttention,
    StateSpaceLM,
    SwiGLU,
    gpt_with,
    llama_with,
    sinusoidal,
)  # fmt: skip


class CharGRU(CharLSTM):
    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__(vocab_size, hidden)
        self.lstm = nn.GRU(hidden, hidden, batch_first=True)


class TwoLayerLSTM(CharLSTM):
    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__(vocab_size, hidden)
        self.lstm = nn.LSTM(hidden, hidden, 2, batch_first=True, dropout=0.1)


class Elman(CharLSTM):
    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__(vocab_size, hidden)
        self.lstm = nn.RNN(hidden, hidden, batch_first=True)


class TiedGPT(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        nn.init.normal_(self.tok_emb.weight, std=0.1)
        self.head.weight = self.tok_emb.weight


class NoPositions(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        del self.pos_emb

    def embed(self, tokens):
        return self.tok_emb(tokens)


class Alibi(Attention):
    def scores(self, q, k):
        at = torch.arange(q.shape[2], device=q.device)
        slopes = 2.0 ** (-4 * torch.arange(1, self.n_heads + 1, device=q.device))
        return super().scores(q, k) - slopes[:, None, None] * (at[:, None] - at).abs()


class AlibiGPT(NoPositions):
    block = type("AlibiBlock", (Block,), {"attention": Alibi})


class Sliding(Attention):
    def make_mask(self, max_len):
        at = torch.arange(max_len)
        gap = at[:, None] - at
        return (gap >= 0) & (gap < 4)


class DropoutAttention(RopeAttention):
    def attend(self, q, k, v):
        p = 0.1 if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)


class FullHeads(RopeAttention):
    n_kv_heads = 2


class NormedQueries(RopeAttention):
    def rotated(self, q, k):
        return super().rotated(F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:]))


class Parallel(Block):
    def forward(self, x):
        h = self.ln1(x)
        return x + self.attn(h) + self.mlp(self.ln2(x))


class PostNorm(Block):
    def forward(self, x):
        x = self.ln1(x + self.attn(x))
        return self.ln2(x + self.mlp(x))


class Experts(nn.Module):
    """A soft mixture of three experts."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.router = nn.Linear(d_model, 3)
        self.experts = nn.ModuleList(MLP(d_model) for _ in range(3))

    def forward(self, x):
        each = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return (each * self.router(x).softmax(-1)[..., None, :]).sum(-1)


class ReluMLP(MLP):
    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class DropoutMLP(MLP):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1, self.training)


class Softplus(DiagonalSSM):
    def forward(self, x):
        return self.out(self.scan(self.inp(x)) * torch.sigmoid(self.gate(x)))


class Wide(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 64) -> None:
        super().__init__(vocab_size, input_length, d_model)


class Sinusoidal(NoPositions):
    def embed(self, tokens):
        x = self.tok_emb(tokens)
        return x + sinusoidal(tokens.shape[1], x.shape[-1]).to(x.device)


class SmallInit(GPT):
    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__(vocab_size, input_length, d_model)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)


class SquaredRelu(MLP):
    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)).square())


class Tanh(MLP):
    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


class ResidualLSTM(CharLSTM):
    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.fc(x + self.lstm(x)[0])


def gpt(name, **attributes):
    return type(name, (GPT,), attributes)


MODELS = {
    "wide": Wide, "sinusoidal": Sinusoidal, "small initial weights": SmallInit,
    "squared relu": gpt_with("SquaredGPT", mlp_class=SquaredRelu), "tanh mlp": gpt_with("TanhGPT", mlp_class=Tanh),
    "residual lstm": ResidualLSTM, "four layers": type("FourGPT", (GPT,), {"n_layers": 4}),
    "gpt": GPT, "llama": Llama, "lstm": CharLSTM, "gru": CharGRU, "two-layer lstm": TwoLayerLSTM,
    "elman": Elman, "causal convolution": ConvNet, "state space": StateSpaceLM,
    "gated state space": type("SigmoidSSM", (StateSpaceLM,), {"mixer": Softplus}),
    "pytorch post-norm encoder": PyTorchTransformer, "tied": TiedGPT, "no positions": NoPositions,
    "alibi": AlibiGPT, "sliding window": gpt_with("SlidingGPT", attention=Sliding),
    "dropout in attention": llama_with("DropoutLlama", attention=DropoutAttention),
    "full heads": llama_with("FullLlama", attention=FullHeads),
    "normed queries": llama_with("NormedLlama", attention=NormedQueries),
    "parallel blocks": gpt("ParallelGPT", block=Parallel),
    "post norm": gpt("PostGPT", block=PostNorm), "experts": gpt_with("MoEGPT", mlp_class=Experts),
    "relu mlp": gpt_with("ReluGPT", mlp_class=ReluMLP),
    "dropout": gpt_with("DropGPT", mlp_class=DropoutMLP),
    "swiglu": gpt_with("SwiGPT", mlp_class=SwiGLU), "rms norm": gpt_with("RmsGPT", norm=RMSNorm),
    "deep": gpt("DeepGPT", n_layers=8), "one layer": gpt("ShallowGPT", n_layers=1),
    "one head": gpt("OneHeadGPT", n_heads=1), "many heads": gpt("HeadsGPT", n_heads=8),
}  # fmt: skip
HEALTHY = [Healthy(name, model) for name, model in MODELS.items()]
TASKS = [Healthy(task.__name__.lower(), task) for task in (Copy, Reverse, Roll, Recall, Modular)]
