"""A residual stream with named coordinates, and how the parts of a model read and write it.

The planted models are written in *coordinates*: x = Σ_i c_i e_i, where e_i is the unit vector of
the i-th name. In the model, e_i is a column of a random orthonormal basis Q (D, N), so that no fact
is aligned with the entries of the residual stream. Each column of Q has the mean zero over the
entries.

**Scale.** With a scale s, the tensors at all sites are s times as large, except queries, keys,
scores, patterns and logits, which do not change, nor does the output of a norm. (The MLP has to be
homogeneous for this; a module says so where it is not.)

**Norms.** Before any norm, the embedding of every token has a *ballast*: C / √2 and -C / √2 in the
last two entries, where no e_i has a component. With C = 500 and coordinates of order one, the mean
of x is zero and its root mean square is s C / √D up to a relative |c|² / (2 C²), so that every norm
divides by a constant and does not mix coordinates. Its gains and its bias are random, and what
reads the normalised stream accounts for them: with y = g · x / rms + b, a reader of the directions
R (n, N) has the weights W = R Qᵀ diag(rms / g) and the bias -W b. Without a norm, there is no
ballast. So with a norm, the embeddings of all tokens have a large common part, which is not a fact
about the computation, and an ablation has to keep it (replace by the mean, not by zero) where it
takes away the embedding.

**Biases.** With biases, constants are biases of the linear layers. Without them, every token has
the coordinate ``one``, and constants are read from it.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ablab.model.build import build_model
from ablab.model.transformer_config import TransformerConfig

BALLAST = 500.0
ONE = "one"


@dataclass(frozen=True)
class Stream:
    """The coordinates of a residual stream. Axes: V, T, D; N coordinates; n directions.

    Attributes:
        names: The names of the coordinates; the last is ``one``.
        norm: The name of the model's norm.
        scale: The scale s.
        bias: Whether linear layers and norms have biases.
        basis: The unit vectors e_i, (D, N).
    """

    names: tuple[str, ...]
    norm: str
    scale: float
    bias: bool
    basis: np.ndarray

    def __getitem__(self, name):
        """The coordinates (N,) of the unit vector with that name."""
        return np.eye(len(self.names))[self.names.index(name)]

    def table(self, prefix, count):
        """The coordinates (count, N) of the unit vectors ``prefix 0`` … ``prefix count - 1``."""
        return np.stack([self[f"{prefix} {i}"] for i in range(count)])

    def directions(self, coordinates):
        """Coordinates (…, N) as vectors of the residual stream (…, D), without the scale."""
        return coordinates @ self.basis.T

    def coordinates(self, vectors):
        """The coordinates (…, N) of vectors of the residual stream (…, D) with its scale."""
        return vectors @ self.basis / self.scale

    @property
    def ballast(self):
        """What is added to the embedding of every token, (D,)."""
        added = np.zeros(len(self.basis))
        if self.norm != "none":
            added[-2:] = np.array([1, -1]) * BALLAST / math.sqrt(2)
        return self.scale * added

    @property
    def divisor(self):
        """What a norm divides the residual stream by; 1 without a norm."""
        if self.norm == "none":
            return 1.0
        mean_of = 1 if self.norm == "frobenius" else len(self.basis)
        return self.scale * BALLAST / math.sqrt(mean_of)


def make_stream(names, norm, scale, bias, seed):
    """A stream with a random basis, drawn from a seed; ``names`` do not include ``one``."""
    names = (*names, ONE)
    width = len(names) + 1  # one dimension is that of the mean
    drawn = np.random.default_rng(seed).standard_normal((width, width))
    drawn[:, 0] = 1  # the other columns become orthogonal to it
    basis = np.linalg.qr(drawn)[0][:, 1:]
    basis = np.concatenate([basis, np.zeros((2, len(names)))])
    return Stream(names, norm, scale, bias, basis)


def blank_model(stream, task, seed, **settings):
    """A transformer for a task without any computation: all matrices and biases are zero.

    The gains of norms are uniform in 0.5 … 2, and their biases normal with the standard deviation
    0.1.

    Args:
        stream: The residual stream.
        task: The configuration of the task.
        seed: The seed of the gains and biases of norms.
        settings: Settings of ``TransformerConfig``; the width, the norm and the biases are those of
            the stream.
    """
    config = TransformerConfig(
        d_model=len(stream.basis), norm=stream.norm, bias=stream.bias, **settings
    )
    model = build_model(config, task.vocab_size, task.input_length, seed=seed).eval()
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        part, kind = name.split(".")[-2:]
        drawn = np.zeros(parameter.shape)
        if part.startswith("norm"):
            drawn = (
                rng.uniform(0.5, 2, len(drawn))
                if kind == "weight"
                else rng.normal(0, 0.1, len(drawn))
            )
        assign(parameter, drawn)
    return model


def assign(parameter, values):
    """Writes values into a parameter of the same shape."""
    assert parameter.shape == values.shape
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))


def write_embedding(stream, model, tokens, positions=None):
    """Writes the embedding.

    Args:
        stream: The residual stream.
        model: The model.
        tokens: The coordinates of each token, (V, N), without ``one``, which is added.
        positions: The coordinates of each position, (T, N); None for zero.
    """
    if not stream.bias:
        tokens = tokens + stream[ONE]
    assign(model.embedding.weight, stream.scale * stream.directions(tokens) + stream.ballast)
    if positions is not None:
        assign(model.positional_embedding.weight, stream.scale * stream.directions(positions))


def write_reader(stream, linear, norm, directions, constants=0.0, first=0):
    """Writes rows of a layer that reads the normalised stream: r · c + constant.

    Here c are the coordinates of the stream, so that the result does not depend on the scale.

    Args:
        stream: The residual stream.
        linear: The layer.
        norm: The norm before it.
        directions: The directions r, (n, N).
        constants: The constants, (n,) or a number.
        first: The first row that is written.
    """
    constants = np.broadcast_to(constants, len(directions))
    if not stream.bias:
        directions = directions + constants[:, None] * stream[ONE]
    gain, shift = _values(norm, "weight", 1.0), _values(norm, "bias", 0.0)
    weights = stream.directions(directions) / gain * stream.divisor / stream.scale
    rows = slice(first, first + len(weights))
    with torch.no_grad():
        linear.weight[rows] = torch.from_numpy(weights).to(linear.weight)
        if stream.bias:
            bias = constants - (weights * shift).sum(-1)
            linear.bias[rows] = torch.from_numpy(bias).to(linear.bias)


def write_writer(stream, linear, columns, constant=None, first=0):
    """Writes columns of a layer that adds to the residual stream.

    Args:
        stream: The residual stream.
        linear: The layer.
        columns: The coordinates that each input adds, (n, N).
        constant: The coordinates that are always added, (N,), as a bias; None for zero.
        first: The first column that is written.
    """
    weights = torch.from_numpy(stream.directions(columns).T)
    with torch.no_grad():
        linear.weight[:, first : first + len(columns)] = weights.to(linear.weight)
    if constant is not None:
        assign(linear.bias, stream.scale * stream.directions(constant))


def write_head(stream, block, head, *, query, key, value, output, query_constants=0.0):
    """Writes a head: its scores are (query c_q) · (key c_k), without the usual 1 / √K.

    Args:
        stream: The residual stream.
        block: The block.
        head: The number of the head.
        query: What the queries read, (n, N) with n ≤ K.
        key: What the keys read, (n, N).
        value: What the values read, (m, N) with m ≤ K; values have the scale of the stream.
        output: The coordinates that each entry of the values adds, (m, N).
        query_constants: Constants in the queries, (n,) or a number.
    """
    attention, norm = block.attention, block.norm1
    width = attention.d_head
    first, root = head * width, math.sqrt(width)
    assert max(len(query), len(value)) <= width, "the head is wide enough"
    constants = root * np.broadcast_to(query_constants, len(query))
    write_reader(stream, attention.query, norm, root * query, constants, first=first)
    write_reader(stream, attention.key, norm, key, first=first)
    write_reader(stream, attention.value, norm, stream.scale * value, first=first)
    write_writer(stream, attention.projection, output, first=first)


def add_harmless_biases(model, seed):
    """Adds biases that change no pattern and no probability, where the model has biases.

    They are random biases of all keys, which add the same to all scores of a query, and one bias
    of all logits.
    """
    rng = np.random.default_rng(seed)
    if model.unembedding.bias is None:
        return
    with torch.no_grad():
        model.unembedding.bias += rng.normal()
        for block in model.blocks:
            bias = block.attention.key.bias
            bias += torch.from_numpy(rng.normal(size=bias.shape)).to(bias)


def _values(norm, name, otherwise):
    """A parameter of a norm as an array; ``otherwise`` if it has none."""
    parameter = getattr(norm, name, None)
    return otherwise if parameter is None else parameter.detach().double().numpy()
