"""The weights of a transformer with norms, biases and scales folded in. Axes: V, T, D, H, K, M.

All matrices act on row vectors from the left, x W, and are in float64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablab.analysis.methods.unit_outputs import blocks
from ablab.analysis.subject import DoesNotApplyError
from ablab.model.attention import Attention
from ablab.model.block import Block
from ablab.model.mlp import Mlp
from ablab.model.norms.frobenius import FrobeniusNorm
from ablab.model.norms.layer import LayerNorm
from ablab.model.norms.none import Identity
from ablab.model.norms.rms import RMSNorm
from ablab.model.parts import AttentionPosition, Constant
from ablab.model.transformer import Transformer

Array = NDArray[np.float64]
_NORMS = (Identity, LayerNorm, RMSNorm, FrobeniusNorm)


@dataclass(frozen=True)
class Reader:
    """A linear layer that reads the residual stream x at a scale σ: x W / σ + b.

    Attributes:
        weight: W, (D, n), or (H, D, K) for heads.
        constant: b, (n,), or (H, K) for heads.
    """

    weight: Array
    constant: Array


@dataclass(frozen=True)
class Heads:
    """The heads of a block.

    Attributes:
        query: Divided by √K and the temperature, so that scores are products of queries and keys.
        key: For each head, also where heads share keys.
        value: As for the key.
        output: What the entries of z add to the residual stream, (H, K, D).
        constant: What is added for all samples, (D,).
        bilinear: Whether scores are products of queries and keys, plus what depends on neither.
        group: How many heads share keys and values, 1 if none do.
    """

    query: Reader
    key: Reader
    value: Reader
    output: Array
    constant: Array
    bilinear: bool
    group: int


@dataclass(frozen=True)
class Neurons:
    """The MLP of a block.

    Attributes:
        read: The input of the activation.
        gated: What the activation is multiplied by in a gated MLP; None in others.
        write: What each neuron adds to the residual stream, (M, D).
        constant: What is added for all samples, (D,).
    """

    read: Reader
    gated: Reader | None
    write: Array
    constant: Array


@dataclass(frozen=True)
class Folded:
    """The folded weights of a transformer.

    Attributes:
        embedding: W_E, (V, D).
        positions: The positional embeddings, (T, D); zero if nothing is added to the embedding.
        heads: The heads of each block; None where a block has no attention.
        neurons: The neurons of each block; None where a block has no MLP.
        logits: The unembedding W_U.
    """

    embedding: Array
    positions: Array
    heads: tuple[Heads | None, ...]
    neurons: tuple[Neurons | None, ...]
    logits: Reader


def fold(model: Transformer, length: int) -> Folded:
    """The weights of a transformer with gain, bias and centring of each norm in what reads it.

    A norm is (x C / σ) diag(g) + β with the centring C = 1 - 11ᵀ / D of layer norm (otherwise C =
    1). So a layer x W + b after it has the weight C diag(g) W and the constant β W + b. The scale σ
    remains. Centring what reads is the same as centring what writes, as C² = C. Layer scale is in
    what writes.

    Args:
        model: The model.
        length: The number of positions (T).

    Raises:
        DoesNotApplyError: The model has parts that are not linear where linear ones are needed.
    """
    own = blocks(model)
    for number, block in enumerate(own):
        _check(number, block)
    position = model.positional_embedding
    added = None if position is None else position(0, length, torch.device("cpu"))
    width = model.config.d_model
    return Folded(
        embedding=_array(model.embedding.weight),
        positions=np.zeros((length, width)) if added is None else _array(added),
        heads=tuple(_heads(block) if block.has_attention else None for block in own),
        neurons=tuple(_neurons(block) if block.has_mlp else None for block in own),
        logits=_reader(model.unembedding, model.norm, "the norm before the logits"),
    )


def _check(number: int, block: Block) -> None:
    """Raises an error for what effective matrices do not describe."""
    parts: list[tuple[str, nn.Module]] = []
    if block.has_attention:
        parts += [("norm1", block.norm1), ("attention.post_norm", block.attention.post_norm)]
    if block.has_mlp:
        parts += [("norm2", block.norm2), ("mlp.norm", block.mlp.norm)]
    for name, part in parts:
        inside = name.startswith(("attention", "mlp"))
        if not isinstance(part, Identity) and (inside or not block.pre):
            place = "inside the part" if inside else "after the residual connection"
            raise DoesNotApplyError(
                f"a norm {place} (blocks.{number}.{name}) cannot be folded into matrices"
            )
    if not block.residual:
        raise DoesNotApplyError(f"block {number} has no residual connection")


def _heads(block: Block) -> Heads:
    attention: Attention = block.attention
    heads, width = attention.n_heads, attention.d_head
    readers = []
    for layer in (attention.query, attention.key, attention.value):
        reader = _reader(layer, block.norm1, "the norm before attention")
        count = reader.constant.size // width
        weight = reader.weight.reshape(-1, count, width).transpose(1, 0, 2)  # (H or G, D, K)
        shared = heads // count
        constant = np.repeat(reader.constant.reshape(count, width), shared, axis=0)
        readers.append(Reader(np.repeat(weight, shared, axis=0), constant))
    factor = _score_factor(attention)
    readers[0] = Reader(
        readers[0].weight * factor[:, None, None], readers[0].constant * factor[:, None]
    )
    output, constant = _writer(attention.projection, heads * width, block.scale1)
    bilinear = all(
        isinstance(part, nn.Identity)
        for part in (attention.qk_activation, attention.query_norm, attention.key_norm)
    ) and (type(attention.position).rotate is AttentionPosition.rotate)
    return Heads(
        readers[0],
        readers[1],
        readers[2],
        output.reshape(heads, width, -1),
        constant,
        bilinear,
        heads // attention.n_kv_heads,
    )


def _score_factor(attention: Attention) -> Array:
    """1 / (√K τ) for each head, (H,)."""
    temperature = attention.temperature
    factor = np.full(attention.n_heads, attention.d_head**-0.5)
    if temperature.log is not None:
        return factor * np.exp(-_array(temperature.log.weight))
    return factor / temperature.fixed


def _neurons(block: Block) -> Neurons:
    mlp: Mlp = block.mlp
    place = "the norm before the MLP"
    read = _reader(mlp.linear if mlp.gate is None else mlp.gate, block.norm2, place)
    gated = None if mlp.gate is None else _reader(mlp.linear, block.norm2, place)
    write, constant = _writer(mlp.projection, mlp.linear.out_features, block.scale2)
    return Neurons(read, gated, write, constant)


def _reader(layer: nn.Linear, norm: nn.Module, place: str) -> Reader:
    """A layer with the norm before it folded in."""
    if type(norm) not in _NORMS:
        name = type(norm).__name__
        raise DoesNotApplyError(f"{place}, a {name}, cannot be folded into matrices")
    weight = _array(layer.weight).T
    constant = np.zeros(weight.shape[1]) if layer.bias is None else _array(layer.bias)
    shift, gain = getattr(norm, "bias", None), getattr(norm, "weight", None)
    if isinstance(shift, Tensor):
        constant = constant + _array(shift) @ weight
    if isinstance(gain, Tensor):
        weight = _array(gain)[:, None] * weight
    if isinstance(norm, LayerNorm):
        weight = weight - weight.mean(0)
    return Reader(weight, constant)


def _writer(layer: nn.Linear | None, width: int, scale: Constant | None) -> tuple[Array, Array]:
    """The weight (n, D) and the constant (D,) of a layer that writes; the identity without one."""
    weight = np.eye(width) if layer is None else _array(layer.weight).T
    bias = None if layer is None else layer.bias
    constant = np.zeros(weight.shape[1]) if bias is None else _array(bias)
    factor = 1.0 if scale is None else _array(scale.weight)
    return weight * factor, constant * factor


def _array(tensor: Tensor) -> Array:
    """A tensor as an array in float64."""
    return tensor.detach().to("cpu", torch.float64).numpy()
