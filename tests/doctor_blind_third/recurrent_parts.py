"""Correct linear attention, state-space, convolutional and recurrent models.

Each model takes tokens (B, T) and returns logits (B, T, V). A planted bug replaces one method.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Stack(nn.Module):
    """Embedding, residual layers of one class, a final norm and a head."""

    layer: type

    def __init__(self, vocab_size: int = 16, width: int = 16) -> None:
        super().__init__()
        self.into = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(self.layer(width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.last = nn.LayerNorm(width)
        self.out = nn.Linear(width, vocab_size)

    def mixed(self, x):
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))
        return x

    def forward(self, tokens):
        return self.out(self.last(self.mixed(self.into(tokens))))


class LinearAttention(nn.Module):
    """Causal linear attention with elu + 1 as its feature map (Katharopoulos et al., 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def total(self, k):
        return k.cumsum(1)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        memory = (k[..., :, None] * v[..., None, :]).cumsum(1)  # (B, T, K, V)
        above = (q[..., None] * memory).sum(-2)
        return self.out(above / (q * self.total(k)).sum(-1, keepdim=True))


class LinearAttentionModel(Stack):
    layer = LinearAttention


class LongConvolution(nn.Module):
    """A diagonal state-space layer as a long convolution by FFT (S4D; Gu et al., 2022)."""

    def __init__(self, width: int, states: int = 4) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.linspace(-2.0, 0.0, states).repeat(width, 1))
        self.frequency = nn.Parameter(torch.arange(states).float().repeat(width, 1))
        self.weight = nn.Parameter(torch.randn(width, states) / states)
        self.skip = nn.Parameter(torch.ones(width))
        self.out = nn.Linear(width, 2 * width)

    def kernel(self, length):
        at = torch.arange(length, device=self.weight.device)
        decay = torch.exp(-self.log_rate.exp()[..., None] * at)
        return (self.weight[..., None] * decay * torch.cos(self.frequency[..., None] * at)).sum(1)

    def size(self, length):
        return 2 * length

    def forward(self, x):
        T, u = x.shape[1], x.transpose(1, 2)
        n = self.size(T)
        product = torch.fft.rfft(u, n=n) * torch.fft.rfft(self.kernel(T), n=n)
        y = torch.fft.irfft(product, n=n)[..., :T].transpose(1, 2)
        return F.glu(self.out(F.gelu(y + self.skip * x)), dim=-1)


class LongConvolutionModel(Stack):
    layer = LongConvolution


class SelectiveScan(nn.Module):
    """A selective state-space layer (Gu and Dao, 2023) with a short causal convolution."""

    def __init__(self, width: int, states: int = 4) -> None:
        super().__init__()
        self.into = nn.Linear(width, 2 * width, bias=False)
        self.short = nn.Conv1d(width, width, 3, padding=2, groups=width)
        self.log_rate = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.choose = nn.Linear(width, 2 * states, bias=False)
        self.step = nn.Linear(width, width)
        self.skip = nn.Parameter(torch.ones(width))
        self.out = nn.Linear(width, width, bias=False)

    def rate(self):
        return -self.log_rate.exp()

    def carried(self, state):
        return state

    def scan(self, u):
        into, read = self.choose(u).chunk(2, dim=-1)
        step = F.softplus(self.step(u))
        keep = torch.exp(step[..., None] * self.rate())
        new = (step * u)[..., None] * into[:, :, None]  # (B, T, D, N)
        state, found = torch.zeros_like(new[:, 0]), []
        for t in range(u.shape[1]):
            state = keep[:, t] * self.carried(state) + new[:, t]
            found.append((state * read[:, t, None]).sum(-1))
        return torch.stack(found, dim=1)

    def forward(self, x):
        u, gate = self.into(x).chunk(2, dim=-1)
        u = F.silu(self.short(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        return self.out((self.scan(u) + self.skip * u) * F.silu(gate))


class SelectiveModel(Stack):
    layer = SelectiveScan


class Temporal(nn.Module):
    """Two dilated convolutions, padded on both sides and cut at the end (Bai et al., 2018)."""

    def __init__(self, width: int, dilation: int = 2) -> None:
        super().__init__()
        self.extra = 2 * dilation
        made = {"padding": self.extra, "dilation": dilation}
        self.first = nn.Conv1d(width, width, 3, **made)
        self.second = nn.Conv1d(width, width, 3, **made)
        self.norm = self.make_norm(width)

    def make_norm(self, width):
        return nn.LayerNorm(width)

    def cut(self, y):
        return y[..., : -self.extra]

    def normed(self, y):
        return self.norm(y.transpose(1, 2)).transpose(1, 2)

    def forward(self, x):
        y = F.relu(self.normed(self.cut(self.first(x.transpose(1, 2)))))
        return self.cut(self.second(y)).transpose(1, 2)


class TemporalModel(Stack):
    layer = Temporal


class TokenShift(nn.Module):
    """Channel mixing of RWKV (Peng et al., 2023): each token and the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.full((width,), 0.5))
        self.key = nn.Linear(width, 2 * width, bias=False)
        self.value = nn.Linear(2 * width, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)

    def shifted(self, x):
        return F.pad(x, (0, 0, 1, -1))

    def forward(self, x):
        y = x + self.mix * (self.shifted(x) - x)
        return torch.sigmoid(self.gate(y)) * self.value(F.relu(self.key(y)).square())


class TokenShiftModel(Stack):
    layer = TokenShift


class TwoGRUs(nn.Module):
    """Two GRUs on top of each other, each with a learned initial state."""

    def __init__(self, vocab_size: int = 16, width: int = 16) -> None:
        super().__init__()
        self.into = nn.Embedding(vocab_size, width)
        self.low = nn.GRU(width, width, batch_first=True)
        self.high = nn.GRU(width, width, batch_first=True)
        self.initial = nn.Parameter(0.1 * torch.randn(2, width))
        self.out = nn.Linear(width, vocab_size)

    def start(self, number, tokens):
        return self.initial[number].expand(1, len(tokens), -1).contiguous()

    def second_start(self, state, tokens):
        return self.start(1, tokens)

    def forward(self, tokens):
        x, state = self.low(self.into(tokens), self.start(0, tokens))
        return self.out(self.high(x, self.second_start(state, tokens))[0])
