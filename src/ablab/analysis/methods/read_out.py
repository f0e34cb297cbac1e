"""The logits as a function of the neurons of the last MLP. Axes: S, V, D, M.

S samples at one position, or at several ones; V tokens, D residual stream, M neurons. What comes
after the neurons is linear up to the norms, so one pass of the model serves all neurons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablab.analysis.methods.last_mlp import LastMlp, at_zero, linear_part
from ablab.analysis.passes import Pass
from ablab.model.parts import DividingNorm


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
        norm: The norm; None if there is none. Its scale may have parameters, so the logits are
            computed without gradients.
    """

    neurons: Tensor
    stream: Tensor
    output: Tensor
    products: Tensor
    logit_map: Tensor
    constant: Tensor
    norm: DividingNorm | None

    @torch.no_grad()
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

    @torch.no_grad()
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

    @torch.no_grad()
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


@dataclass(frozen=True)
class Written:
    """What the neurons of the last MLP write to the residual stream, with all that follows.

    Attributes:
        own: The MLP, of the last block, whose neurons write linearly.
        neurons: The neurons' activations, (S, M), in float64.
        stream: The residual stream after the block, (S, D), in float64; before the block's norm,
            where that comes after the sum.
        output: What each neuron adds to it, (D, M).
    """

    own: LastMlp
    neurons: Tensor
    stream: Tensor
    output: Tensor

    @torch.no_grad()
    def with_change(self, neuron: int, change: Tensor) -> Tensor:
        """The logits if one neuron's activation changes by (S,), (S, V)."""
        weight: Tensor = self.own.model.unembedding.weight
        x = torch.addr(self.stream, change, self.output[:, neuron]).to(weight.dtype)
        for norm in self.own.norms:
            x = norm(x)
        logits: Tensor = self.own.model.unembedding(x)
        return logits

    @property
    def read_out(self) -> ReadOut | None:
        """The logits before the last norm's division.

        None if several norms follow, or one that does not divide.
        """
        model, norms = self.own.model, self.own.norms
        logit_map = self.own.logit_map()
        if logit_map is None or len(norms) > 1:
            return None
        weight, bias = model.unembedding.weight.detach().double(), model.unembedding.bias
        constant = torch.zeros(len(weight)).double() if bias is None else bias.detach().double()
        norm: nn.Module | None = norms[0] if norms else None
        if norm is None:
            products = self.stream @ weight.T
        else:
            assert isinstance(norm, DividingNorm), "there is a logit map"
            width = model.config.d_model
            linear, shift = linear_part(norm, width), at_zero(norm, width)
            assert linear is not None, "there is a logit map"
            products = self.stream @ torch.from_numpy(linear) @ weight.T
            constant = constant + weight @ torch.from_numpy(shift)
        mapped = torch.from_numpy(logit_map)
        return ReadOut(self.neurons, self.stream, self.output, products, mapped, constant, norm)


def written(own: LastMlp, tensors: Sequence[Tensor]) -> Written | None:
    """What the neurons write.

    Args:
        own: The MLP.
        tensors: The tensors at ``own.sites``, (S, …) each.

    Returns:
        None if the MLP is not in the last block, or has a norm between its neurons and their
        output.
    """
    output = own.output_matrix()
    if not own.is_last or output is None:
        return None
    neurons, middle, out = (each.double() for each in tensors)
    stream = middle + out if own.block.residual else out
    return Written(own, neurons, stream, torch.from_numpy(output))


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
    chosen = torch.from_numpy(rows)
    at_position = written(own, [found.sites[site][chosen, position] for site in own.sites])
    return None if at_position is None else at_position.read_out
