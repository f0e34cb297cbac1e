"""Correct blocks and small language models as people write them, and the records of the data.

Each model takes tokens (B, T) and returns logits (B, T, V). Subclasses with a planted mistake
replace one part.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Bug:
    """A model or task with one mistake.

    Attributes:
        name: A unique name.
        factory: The class; a model is constructible without arguments, and a task is named by its
            import path.
        cause: What is wrong, as a short phrase.
        words: Regular expressions in lower case; a finding that matches one names the right cause.
        sibling: The same without the mistake.
        fresh: Whether the mistake is in the initial values, so that the sibling's are not copied.
        finite: Whether the logits are finite.
        trains: Whether the loss has a gradient.
        shape: Whether the logits have the expected shape.
    """

    name: str
    factory: type
    cause: str
    words: tuple[str, ...]
    sibling: type | None = None
    fresh: bool = False
    finite: bool = True
    trains: bool = True
    shape: bool = True


@dataclass(frozen=True)
class Healthy:
    """A correct model or task; ``note`` says what is unusual about it."""

    name: str
    factory: type
    note: str = ""


class Attention(nn.Module):
    """Causal multi-head attention, written by hand."""

    def __init__(self, d_model: int, n_heads: int, max_len: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.d_head = d_model // n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)
        self.register_buffer("tril", self.make_mask(max_len), persistent=False)

    def make_mask(self, max_len):
        return torch.tril(torch.ones(max_len, max_len, dtype=torch.bool))

    def split(self, x):
        B, T, _ = x.shape
        return x.view(B, T, self.n_heads, self.d_head).transpose(1, 2)  # (B, H, T, K)

    def merge(self, x):
        B, H, T, K = x.shape
        return x.transpose(1, 2).reshape(B, T, H * K)

    def scores(self, q, k):
        return q @ k.transpose(-2, -1) / math.sqrt(self.d_head)

    def masked(self, scores):
        T = scores.shape[-1]
        return scores.masked_fill(~self.tril[:T, :T], float("-inf"))

    def normalize(self, scores):
        return scores.softmax(dim=-1)

    def weights(self, q, k):
        return self.normalize(self.masked(self.scores(q, k)))

    def project(self, x):
        return [self.split(part) for part in self.qkv(x).chunk(3, dim=-1)]

    def forward(self, x):
        q, k, v = self.project(x)
        return self.proj(self.merge(self.weights(q, k) @ v))


class MLP(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, 4 * d_model)
        self.fc2 = nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each after a norm and with a residual connection."""

    attention = Attention
    mlp_class = MLP
    norm = nn.LayerNorm

    def __init__(self, d_model: int, n_heads: int, max_len: int) -> None:
        super().__init__()
        self.ln1 = self.norm(d_model)
        self.attn = self.attention(d_model, n_heads, max_len)
        self.ln2 = self.norm(d_model)
        self.mlp = self.mlp_class(d_model)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """A GPT: learned positions, pre-norm blocks, a final norm, an untied head."""

    block = Block
    n_layers = 2
    n_heads = 2

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.tok_emb = nn.Embedding(vocab_size, d_model)
        self.pos_emb = nn.Embedding(input_length, d_model)
        self.blocks = self.make_blocks(d_model, input_length)
        self.ln_f = self.block.norm(d_model)
        self.head = nn.Linear(d_model, vocab_size)

    def make_blocks(self, d_model, length):
        return nn.ModuleList(
            self.block(d_model, self.n_heads, length) for _ in range(self.n_layers)
        )

    def positions(self, tokens):
        return self.pos_emb(torch.arange(tokens.shape[1], device=tokens.device))

    def embed(self, tokens):
        return self.tok_emb(tokens) + self.positions(tokens)

    def body(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def output(self, x):
        return self.head(self.ln_f(x))

    def forward(self, tokens):
        return self.output(self.body(self.embed(tokens)))


def gpt_with(name: str, **changed: type) -> type:
    """A GPT class whose block has other parts: ``attention``, ``mlp_class``, ``norm``."""
    block = type(f"{name}Block", (Block,), changed)
    return type(name, (GPT,), {"block": block})


def rope_tables(length: int, d_head: int, base: float = 10000.0):
    """Cosine and sine (T, K / 2) of rotary positions (Su et al., 2021)."""
    rates = base ** (-torch.arange(0, d_head, 2).float() / d_head)
    angles = torch.arange(length).float()[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Rotates the halves of the last axis of x (B, H, T, K)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich, 2019)."""

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class RopeAttention(nn.Module):
    """Grouped-query attention with rotary positions, by scaled_dot_product_attention."""

    n_kv_heads = 1

    def __init__(self, d_model: int, n_heads: int, max_len: int) -> None:
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.wq = nn.Linear(d_model, n_heads * self.d_head, bias=False)
        self.wk = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias=False)
        self.wv = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias=False)
        self.wo = nn.Linear(d_model, d_model, bias=False)
        cos, sin = self.tables(max_len)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def tables(self, max_len):
        return rope_tables(max_len, self.d_head)

    def rotated(self, q, k):
        cos, sin = self.cos[: q.shape[2]], self.sin[: q.shape[2]]
        return rotate(q, cos, sin), rotate(k, cos, sin)

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def forward(self, x):
        B, T, D = x.shape
        q = self.wq(x).view(B, T, self.n_heads, self.d_head).transpose(1, 2)
        k = self.wk(x).view(B, T, self.n_kv_heads, self.d_head).transpose(1, 2)
        v = self.wv(x).view(B, T, self.n_kv_heads, self.d_head).transpose(1, 2)
        q, k = self.rotated(q, k)
        k = k.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        v = v.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        return self.wo(self.attend(q, k, v).transpose(1, 2).reshape(B, T, D))


class SwiGLU(nn.Module):
    """Gated MLP (Shazeer, 2020)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, 2 * d_model, bias=False)
        self.w2 = nn.Linear(2 * d_model, d_model, bias=False)
        self.w3 = nn.Linear(d_model, 2 * d_model, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class LlamaBlock(Block):
    attention = RopeAttention
    mlp_class = SwiGLU
    norm = RMSNorm


class Llama(nn.Module):
    """A Llama: rotary positions, RMSNorm, SwiGLU, grouped queries, no bias."""

    block = LlamaBlock

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, d_model)
        self.layers = nn.ModuleList(self.block(d_model, 2, input_length) for _ in range(2))
        self.norm = self.block.norm(d_model)
        self.lm_head = nn.Linear(d_model, vocab_size, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


def llama_with(name: str, **changed: type) -> type:
    """A Llama class whose block has other parts."""
    block = type(f"{name}Block", (LlamaBlock,), changed)
    return type(name, (Llama,), {"block": block})


class CharLSTM(nn.Module):
    """An LSTM language model."""

    def __init__(self, vocab_size: int = 16, hidden: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, vocab_size)

    def forward(self, tokens):
        out, _ = self.lstm(self.embedding(tokens))
        return self.fc(out)


class CausalConv(nn.Module):
    """A convolution over the present and earlier positions."""

    def __init__(self, d_model: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.left = (kernel - 1) * dilation
        self.conv = nn.Conv1d(d_model, d_model, kernel, dilation=dilation)

    def forward(self, x):  # (B, T, D)
        return self.conv(F.pad(x.transpose(1, 2), (self.left, 0))).transpose(1, 2)


class ConvNet(nn.Module):
    """Residual causal convolutions, in the manner of WaveNet."""

    conv_class = CausalConv

    def __init__(self, vocab_size: int = 16, width: int = 16) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab_size, width)
        self.convs = nn.ModuleList(self.conv_class(width, 3, d) for d in (1, 2, 4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.emb(tokens)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + F.relu(conv(norm(x)))
        return self.out(x)


class DiagonalSSM(nn.Module):
    """A diagonal linear recurrence: h[t] = a * h[t-1] + x[t], with a in (0, 1)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.linspace(-2.0, 1.0, d_model))
        self.inp = nn.Linear(d_model, d_model)
        self.gate = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)

    def scan(self, u):
        a = torch.exp(-self.log_rate.exp())
        h, states = torch.zeros_like(u[:, 0]), []
        for t in range(u.shape[1]):
            h = a * h + u[:, t]
            states.append(h)
        return torch.stack(states, dim=1)

    def forward(self, x):
        return self.out(self.scan(self.inp(x)) * F.silu(self.gate(x)))


class StateSpaceLM(nn.Module):
    """A stack of gated diagonal state-space layers."""

    mixer = DiagonalSSM

    def __init__(self, vocab_size: int = 16, d_model: int = 16, n_layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, d_model)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(n_layers))
        self.mixers = nn.ModuleList(self.mixer(d_model) for _ in range(n_layers))
        self.norm_f = nn.LayerNorm(d_model)
        self.lm_head = nn.Linear(d_model, vocab_size)

    def forward(self, tokens):
        x = self.embed(tokens)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x = x + mixer(norm(x))
        return self.lm_head(self.norm_f(x))


def sinusoidal(length: int, d_model: int):
    """The fixed positions (T, D) of Vaswani et al. (2017)."""
    angles = torch.arange(length).float()[:, None] * torch.exp(
        torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class PyTorchTransformer(nn.Module):
    """Post-norm nn.TransformerEncoderLayer with a causal mask and sinusoidal positions."""

    def __init__(self, vocab_size: int = 16, input_length: int = 12, d_model: int = 16) -> None:
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.register_buffer("pe", sinusoidal(input_length, d_model), persistent=False)
        layer = nn.TransformerEncoderLayer(d_model, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.decoder = nn.Linear(d_model, vocab_size)

    def mask(self, tokens):
        return nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], tokens.device)

    def embedded(self, tokens):
        return self.embedding(tokens) + self.pe[: tokens.shape[1]]

    def forward(self, tokens):
        return self.decoder(self.encoder(self.embedded(tokens), mask=self.mask(tokens)))
