"""The last MLP of a transformer, and the logits that its neurons write. Axes: S, V, D, M.

S samples at one position, V tokens, D residual stream, M neurons.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn

from ablab.analysis.passes import Pass
from ablab.analysis.subject import DoesNotApplyError
from ablab.model.block import Block
from ablab.model.forward import Forward
from ablab.model.mlp import Mlp
from ablab.model.norm import has_scale
from ablab.model.parts import DividingNorm
from ablab.model.transformer import Transformer

Values = NDArray[np.float64]


@dataclass(frozen=True)
class LastMlp:
    """The MLP of the last block that has one.

    Attributes:
        model: The model.
        number: The number of the block.
        block: The block.
    """

    model: Transformer
    number: int
    block: Block

    @property
    def mlp(self) -> Mlp:
        """The MLP."""
        return self.block.mlp

    @property
    def post(self) -> str:
        """The site of the neurons' activations."""
        return f"blocks.{self.number}.mlp.post"

    @property
    def pre(self) -> str:
        """The site of the inputs of the neurons' activation function."""
        return f"blocks.{self.number}.mlp.pre"

    @property
    def resid_post(self) -> str:
        """The site of the residual stream after the block."""
        return f"blocks.{self.number}.resid_post"

    @property
    def sites(self) -> list[str]:
        """The sites that :func:`read_out` needs."""
        return [self.post, f"blocks.{self.number}.resid_mid", f"blocks.{self.number}.mlp_out"]

    def output_matrix(self) -> Values | None:
        """What each neuron adds to the residual stream, (D, M).

        None if the MLP has a norm between its neurons and their output.
        """
        mlp = self.mlp
        if not (mlp.norm_first or _is_identity(mlp.norm)):
            return None
        if mlp.projection is None:
            matrix = np.eye(mlp.linear.out_features)
        else:
            matrix = _array(mlp.projection.weight)
        scale = self.block.scale2
        return matrix if scale is None else _array(scale.weight)[:, None] * matrix

    def logit_map(self) -> Values | None:
        """W_U W_out: what each neuron adds to each logit, (V, M), by the direct path.

        With a norm before the logits, this is up to the positive number by which the norm divides,
        which depends on the sample; its gain and the subtraction of the mean are included. None if
        a norm does not divide (a user's own may not), or stands inside the MLP.
        """
        output = self.output_matrix()
        norms = [_linear_part(norm, self.model.config.d_model) for norm in self.norms]
        if output is None or any(each is None for each in norms):
            return None
        for each in norms:
            output = output if each is None else each.T @ output
        found: Values = _array(self.model.unembedding.weight) @ output
        return found

    @property
    def norms(self) -> list[nn.Module]:
        """The norms between the output of the MLP and the logits, on the direct path."""
        own = [] if self.block.pre else [self.block.norm2]
        return [norm for norm in (*own, self.model.norm) if not _is_identity(norm)]


def last_mlp(model: nn.Module) -> LastMlp | None:
    """The MLP of the last block of a transformer that has one; None if there is none."""
    assert isinstance(model, Transformer), "cyclic_samples has checked it"
    for number in reversed(range(len(model.blocks))):
        block = model.blocks[number]
        assert isinstance(block, Block), "a transformer has blocks"
        if block.has_mlp:
            return LastMlp(model, number, block)
    return None


def require_mlp(model: nn.Module) -> LastMlp:
    """The MLP of the last block that has one.

    Raises:
        DoesNotApplyError: There is none.
    """
    found = last_mlp(model)
    if found is None:
        raise DoesNotApplyError("the model has no MLP")
    return found


@dataclass(frozen=True)
class ReadOut:
    """The logits as a function of the neurons of the last MLP, with the rest of the model fixed.

    The norm before the logits divides the residual stream x by a number, so a change of x changes
    the logits before that division linearly: l = P / scale(x) + constant.

    Attributes:
        neurons: The neurons' activations, (S, M).
        stream: The residual stream x before the norm, (S, D).
        output: What each neuron adds to it, (D, M).
        products: P, (S, V).
        logit_map: What each neuron adds to P, (V, M).
        constant: What is added to all samples' logits, (V,).
        norm: The norm; None if there is none.
    """

    neurons: Tensor
    stream: Tensor
    output: Tensor
    products: Tensor
    logit_map: Tensor
    constant: Tensor
    norm: DividingNorm | None

    def with_change(self, neuron: int, change: Tensor) -> Tensor:
        """The logits if one neuron's activation changes by (S,), (S, V)."""
        products = torch.addr(self.products, change, self.logit_map[:, neuron])
        if self.norm is None:
            return products.add_(self.constant)
        stream = torch.addr(self.stream, change, self.output[:, neuron])
        return products / self.norm.scale(stream) + self.constant

    def with_changes(self, left: Tensor, right: Tensor) -> Tensor:
        """The logits if the neurons' activations change by a product.

        Args:
            left: (S, r).
            right: (r, M).

        Returns:
            (S, V).
        """
        products = left @ (right @ self.logit_map.T)
        if self.norm is None:
            return self.with_added(products, self.stream)
        return self.with_added(products, left @ (right @ self.output.T))

    def with_added(self, products: Tensor, stream: Tensor) -> Tensor:
        """The logits if something is added to P (S, V) and to the residual stream (S, D)."""
        if self.norm is None:
            return (self.products + products).add_(self.constant)
        return (self.products + products) / self.norm.scale(self.stream + stream) + self.constant

    def without_neurons(self) -> "ReadOut":
        """The same with all activations zero."""
        return replace(
            self,
            neurons=torch.zeros_like(self.neurons),
            stream=self.stream - self.neurons @ self.output.T,
            products=self.products - self.neurons @ self.logit_map.T,
        )

    def logits(self) -> Tensor:
        """The logits, (S, V)."""
        if self.norm is None:
            return self.products + self.constant
        return self.products / self.norm.scale(self.stream) + self.constant

    def to(self, dtype: torch.dtype) -> "ReadOut":
        """The same in another precision."""
        return ReadOut(
            neurons=self.neurons.to(dtype),
            stream=self.stream.to(dtype),
            output=self.output.to(dtype),
            products=self.products.to(dtype),
            logit_map=self.logit_map.to(dtype),
            constant=self.constant.to(dtype),
            norm=self.norm,
        )

    def chosen(self, samples: NDArray[np.bool_]) -> "ReadOut":
        """The same for some of the samples, (S,)."""
        own = torch.from_numpy(samples)
        return replace(
            self,
            neurons=self.neurons[own],
            stream=self.stream[own],
            products=self.products[own],
        )


def read_out(own: LastMlp, found: Pass, rows: NDArray[np.int64], position: int) -> ReadOut | None:
    """The logits at a position as a function of the neurons, in float64.

    Args:
        own: The MLP.
        found: A pass with the tensors at ``own.sites``.
        rows: Which of its samples, (S,).
        position: The position, from the end if negative.

    Returns:
        None if the MLP is not in the last block, has a norm between its neurons and their output,
        or is followed by several norms or by one that does not divide.
    """
    logit_map, output = own.logit_map(), own.output_matrix()
    norms = own.norms
    if own.number != len(own.model.blocks) - 1 or logit_map is None or output is None:
        return None
    if len(norms) > 1:
        return None
    chosen = torch.from_numpy(rows)
    neurons, middle, out = (found.sites[site][chosen, position].double() for site in own.sites)
    stream = middle + out if own.block.residual else out
    weight = own.model.unembedding.weight.detach().double()
    bias = own.model.unembedding.bias
    constant = torch.zeros(len(weight)).double() if bias is None else bias.detach().double()
    norm = norms[0] if norms else None
    if norm is None:
        products = stream @ weight.T
    else:
        assert isinstance(norm, DividingNorm), "there is a logit map"
        width = own.model.config.d_model
        linear, shift = _linear_part(norm, width), _at_zero(norm, width)
        assert linear is not None, "there is a logit map"
        products = stream @ torch.from_numpy(linear) @ weight.T
        constant = constant + weight @ torch.from_numpy(shift)
    return ReadOut(
        neurons, stream, torch.from_numpy(output), products, torch.from_numpy(logit_map),
        constant, norm,
    )  # fmt: skip


def _array(tensor: Tensor) -> Values:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _is_identity(norm: nn.Module) -> bool:
    return isinstance(norm, nn.Identity)


def _linear_part(norm: nn.Module, width: int) -> Values | None:
    """The matrix (D, D) by which a norm multiplies a row vector, up to the division; else None."""
    if not (isinstance(norm, DividingNorm) and has_scale(norm)):
        return None
    with torch.no_grad():
        rows = norm.divide(torch.eye(width), torch.ones(width, 1)).double().numpy()
    found: Values = rows - _at_zero(norm, width)
    return found


def _at_zero(norm: DividingNorm, width: int) -> Values:
    """What a norm adds, (D,)."""
    with torch.no_grad():
        found: Values = norm.divide(torch.zeros(1, width), torch.ones(1, 1))[0].double().numpy()
    return found


def logits_with_neurons(
    own: LastMlp, tokens: Int[Tensor, "S T"], position: int, neurons: Values
) -> Values:
    """The logits at a position if the neurons' activations there are others.

    This is a pass of the complete model, for those that have no :class:`ReadOut`.

    Args:
        own: The MLP.
        tokens: Token ids.
        position: The position.
        neurons: The activations, (S, M).

    Returns:
        (S, V).
    """

    def changed(x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1]) == position
        return torch.where(at[:, None], torch.from_numpy(neurons).to(x)[:, None], x)

    with torch.no_grad():
        logits = own.model(tokens, Forward({own.post: changed}))
    found: Values = logits[:, position].double().numpy()
    return found
