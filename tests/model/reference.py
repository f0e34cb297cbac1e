"""The transformer's formulas worked in float64 NumPy, with none of its code.

``python -m tests.model.reference`` prints every variant's largest errors, forward and backward.
"""

import math

import numpy as np
import torch

from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig

V, T = 11, 7
TOKENS = np.array([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]])
_erf = np.vectorize(math.erf)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "relu": lambda x: np.where(x > 0, x, 0),
    "silu": lambda x: x * sigmoid(x),
    "tanh": np.tanh,
    "none": lambda x: x,
}


def attention_row(scores, kind):
    """The weights of the keys that one query sees, from their scores."""
    n = len(scores)
    powers = np.exp(scores)
    return {
        "softmax": lambda: powers / powers.sum(),
        "softmax1": lambda: powers / (1 + powers.sum()),
        "sigmoid": lambda: sigmoid(scores),
        "sigmoid_n": lambda: sigmoid(scores) / n,
        "sigmoid_sqrt_n": lambda: sigmoid(scores) / math.sqrt(n),
        "tanh": lambda: np.tanh(scores),
        "none": lambda: scores,
        "relu": lambda: np.maximum(scores, 0),
    }[kind]()


def normed(x, kind, weight=None, bias=None, eps=None):
    if kind == "none":
        return x
    if kind == "frobenius":
        return x / np.sqrt((x**2).sum(-1, keepdims=True) + (eps or 1e-12))
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + (eps or 1e-5))
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def rotated(x, t):
    """RoPE of one vector at position t, pair by pair as a complex product."""
    half = len(x) // 2
    turned = (x[:half] + 1j * x[half:]) * np.exp(
        1j * t * 10000.0 ** (-2 * np.arange(half) / len(x))
    )
    return np.concatenate([turned.real, turned.imag])


def slope(head, heads):
    """ALiBi's slopes as its paper's appendix has them."""
    if math.log2(heads).is_integer():
        return (2 ** (-8 / heads)) ** (head + 1)
    lower = 2 ** math.floor(math.log2(heads))
    if head < lower:
        return slope(head, lower)
    return slope(2 * (head - lower), 2 * lower)


class Reference:
    """One model's formulas, from its parameters by name."""

    def __init__(self, parameters, config):
        self.p, self.config = parameters, config

    def linear(self, x, name):
        result = x @ self.p[f"{name}.weight"].T
        return result + self.p[f"{name}.bias"] if f"{name}.bias" in self.p else result

    def norm(self, x, name, kind, eps):
        return normed(x, kind, self.p.get(f"{name}.weight"), self.p.get(f"{name}.bias"), eps)

    def attention(self, x, name, block):
        own, heads, width = block.attention, block.n_heads, block.d_head
        groups = own.n_kv_heads or heads
        q, k, v = (self.linear(x, f"{name}.{part}") for part in ("query", "key", "value"))
        q, k, v = (y.reshape(len(x), -1, width) for y in (q, k, v))
        act = ACTIVATIONS[own.qk_activation]
        q = self.norm(act(q), f"{name}.query_norm", own.qk_norm, block.norm_eps)
        k = self.norm(act(k), f"{name}.key_norm", own.qk_norm, block.norm_eps)
        if block.position == "rope":
            for y in (q, k):
                for t in range(len(x)):
                    y[t] = [rotated(vector, t) for vector in y[t]]
        z = np.zeros((len(x), heads, width))
        for h in range(heads):
            g = h // (heads // groups)
            temperature = own.temperature
            if own.learned_temperature:
                temperature = math.exp(self.p[f"{name}.temperature.log.weight"][h])
            bias = -math.log(min(T, own.window or T)) if own.logit_bias == "-log n" else (
                own.logit_bias
            )  # fmt: skip
            if own.learned_logit_bias:
                bias = self.p[f"{name}.logit_bias.learned.weight"][h]
            for t in range(len(x)):
                first = max(0, t + 1 - own.window) if own.window else 0
                scores = k[first : t + 1, g] @ q[t, h] / math.sqrt(width)
                if own.temperature_of == "products":
                    scores = scores / temperature
                if block.position == "alibi":
                    scores = scores - slope(h, heads) * (t - np.arange(first, t + 1))
                if own.temperature_of == "scores":
                    scores = scores / temperature
                scores = scores + bias
                z[t, h] = attention_row(scores, own.activation) @ v[first : t + 1, g]
        z = self.norm(z.reshape(len(x), -1), f"{name}.post_norm", own.post_norm, block.norm_eps)
        return self.linear(z, f"{name}.projection") if own.output_projection else z

    def mlp(self, x, name, block):
        own = block.mlp
        act = ACTIVATIONS[own.activation]
        first, second = ("none", own.norm) if own.norm_place == "after" else (own.norm, "none")
        hidden = self.linear(x, f"{name}.gate" if own.gated else f"{name}.linear")
        hidden = act(self.norm(hidden, f"{name}.norm", first, block.norm_eps))
        hidden = hidden * self.linear(x, f"{name}.linear") if own.gated else hidden
        hidden = self.norm(hidden, f"{name}.norm", second, block.norm_eps)
        return self.linear(hidden, f"{name}.projection") if own.output_projection else hidden

    def part(self, x, function, number, name, block):
        prefix, pre = f"blocks.{number}", block.norm_place == "pre"
        place = "1" if name == "attention" else "2"
        given = self.norm(x, f"{prefix}.norm{place}", block.norm, block.norm_eps) if pre else x
        out = function(given, f"{prefix}.{name}", block)
        if block.layer_scale is not None:
            out = out * self.p[f"{prefix}.scale{place}.weight"]
        x = x + out if block.residual else out
        return x if pre else self.norm(x, f"{prefix}.norm{place}", block.norm, block.norm_eps)

    def logits(self, tokens):
        config = self.config
        x = self.p["embedding.weight"][tokens]
        if config.position == "learned":
            x = x + self.p["positional_embedding.weight"][: len(tokens)]
        if config.position == "sinusoidal":
            for t in range(len(tokens)):
                for i in range(config.d_model):
                    angle = t / 10000 ** (2 * (i // 2) / config.d_model)
                    x[t, i] += math.cos(angle) if i % 2 else math.sin(angle)
        for number in range(config.n_layers):
            block = config.block(number)
            if block.attention is not None:
                x = self.part(x, self.attention, number, "attention", block)
            if block.mlp is not None:
                x = self.part(x, self.mlp, number, "mlp", block)
        own = config.output_norm
        if own.kind or config.norm_place == "pre":
            x = self.norm(x, "norm", own.kind or config.norm, own.eps or config.norm_eps)
        if config.tied_embeddings:
            return x @ self.p["embedding.weight"].T
        return self.linear(x, "unembedding")


ATTENTION = [
    *({"activation": kind} for kind in
      ("softmax", "softmax1", "sigmoid", "sigmoid_n", "sigmoid_sqrt_n", "tanh", "none", "relu")),
    {"activation": "sigmoid", "logit_bias": 0.7},
    {"activation": "sigmoid", "learned_logit_bias": True, "learned_temperature": True},
    {"temperature": 2.5},
    *({"qk_activation": kind} for kind in ("gelu", "relu", "silu", "tanh")),
    *({"qk_norm": kind} for kind in ("frobenius", "rms", "layer")),
    *({"post_norm": kind} for kind in ("rms", "layer", "frobenius")),
    {"window": 3}, {"window": 3, "activation": "sigmoid"},
    {"n_kv_heads": 1}, {"n_kv_heads": 2, "activation": "tanh"},
    {"bias": False}, {"output_projection": False},
]  # fmt: skip
ALIBI = {"position": "alibi"}
LATER = [
    {"norm_eps": 0.3, "attention": {"qk_norm": "layer", "post_norm": "rms"}},
    {"norm_eps": 0.3, "norm": "frobenius", "mlp": {"norm": "rms"}},
    {"bias": False, "norm_bias": True, "n_heads": 2, "attention": {"qk_norm": "layer"}},
    {"norm_bias": False},
    {"output_norm": {"kind": "rms", "eps": 0.2}}, {"output_norm": {"eps": 0.2, "bias": False}},
    {"norm_place": "post", "output_norm": "layer"}, {"output_norm": "none"},
    {"mlp": {"norm": "layer", "norm_place": "before"}},
    {"mlp": {"norm": "rms", "norm_place": "before", "gated": True}},
    {**ALIBI, "attention": {"temperature": 2.5, "temperature_of": "scores"}},
    {**ALIBI, "attention": {"temperature": 0.4, "temperature_of": "scores", "window": 4,
                            "activation": "sigmoid"}},
    {**ALIBI, "attention": {"learned_temperature": True, "temperature_of": "scores"}},
    {"n_layers": 2, "norm_eps": 0.3, "blocks": {1: {"norm_eps": 0.1, "norm_bias": False}}},
]  # fmt: skip
VARIANTS = [
    {},
    *({"attention": own} for own in ATTENTION),
    *({"position": kind} for kind in ("sinusoidal", "rope", "alibi", "none")),
    {"position": "alibi", "n_heads": 6, "d_head": 2, "attention": {"activation": "sigmoid"}},
    {"position": "rope", "attention": {"activation": "softmax1", "qk_norm": "rms"}},
    *({"norm": kind} for kind in ("rms", "none", "frobenius")),
    {"norm_place": "post"},
    {"norm_place": "post", "norm": "rms", "n_layers": 2},
    *({"mlp": {"activation": kind}} for kind in ("relu", "silu", "tanh", "none")),
    {"mlp": {"activation": "silu", "gated": True}},
    {"mlp": {"norm": "layer"}}, {"mlp": {"gated": True, "norm": "rms"}},
    {"mlp": {"output_projection": False}}, {"mlp": None}, {"attention": None},
    {"residual": False, "n_layers": 2}, {"layer_scale": 0.3}, {"bias": False},
    {"tied_embeddings": True}, {"d_head": 3}, {"d_mlp": 5},
    {"n_layers": 2, "blocks": {1: {"attention": {"activation": "sigmoid"}, "position": "rope"}}},
    {"n_layers": 2, "blocks": {0: {"n_heads": 2, "mlp": None}}},
    *LATER,
]  # fmt: skip


def errors(settings):
    """The largest error of the logits, and of the loss's slope along random directions.

    The slope is that of the formulas' own values, by central differences.
    """
    config = TransformerConfig(**({"d_model": 8, "n_heads": 4} | settings))
    model = build_model(config, V, T, seed=1).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # biases, norms and learned terms away from their neutral values
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise * 0.2)
    named = {name: p.detach().numpy() for name, p in model.named_parameters()}
    random = np.random.default_rng(0)
    weights = random.normal(size=(*TOKENS.shape, V))

    def formulas(parameters):
        reference = Reference(parameters, config)
        return np.stack([reference.logits(row) for row in TOKENS])

    logits = model(torch.from_numpy(TOKENS))
    forward = np.abs(logits.detach().numpy() - formulas(named)).max()
    (logits * torch.from_numpy(weights)).sum().backward()
    backward = 0.0
    for _ in range(2):
        direction = {name: random.normal(size=value.shape) for name, value in named.items()}
        sides = [
            (formulas({n: v + side * direction[n] for n, v in named.items()}) * weights).sum()
            for side in (1e-6, -1e-6)
        ]
        mine = sum((p.grad.numpy() * direction[name]).sum() for name, p in model.named_parameters())
        backward = max(backward, abs(mine - (sides[0] - sides[1]) / 2e-6) / max(1, abs(mine)))
    return forward, backward


def main():
    """Prints the table."""
    print(f"{'variant':78} {'logits':>9} {'gradient':>9}")
    worst = [0.0, 0.0]
    for settings in VARIANTS:
        found = errors(settings)
        worst = [max(a, b) for a, b in zip(worst, found, strict=True)]
        print(f"{str(settings) if settings else 'as it is':78} {found[0]:9.1e} {found[1]:9.1e}")
    print(f"{'largest':78} {worst[0]:9.1e} {worst[1]:9.1e}")


if __name__ == "__main__":
    main()
