"""The last MLP of a transformer, and what its neurons write. Axes: S, V, D, M.

S samples at one position, V tokens, D residual stream, M neurons.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn

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
    def prefix(self) -> str:
        """What the names of the block's sites begin with."""
        return f"blocks.{self.number}"

    @property
    def is_last(self) -> bool:
        """Whether it is in the last block."""
        return self.number == len(self.model.blocks) - 1

    @property
    def post(self) -> str:
        """The site of the neurons' activations."""
        return f"{self.prefix}.mlp.post"

    @property
    def pre(self) -> str:
        """The site of the inputs of the neurons' activation function."""
        return f"{self.prefix}.mlp.pre"

    @property
    def resid_post(self) -> str:
        """The site of the residual stream after the block."""
        return f"{self.prefix}.resid_post"

    @property
    def sites(self) -> list[str]:
        """The sites that :class:`ablab.analysis.methods.read_out.Written` is made of."""
        return [self.post, f"{self.prefix}.resid_mid", f"{self.prefix}.mlp_out"]

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
        norms = [linear_part(norm, self.model.config.d_model) for norm in self.norms]
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


def _array(tensor: Tensor) -> Values:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _is_identity(norm: nn.Module) -> bool:
    return isinstance(norm, nn.Identity)


def linear_part(norm: nn.Module, width: int) -> Values | None:
    """The matrix (D, D) by which a norm multiplies a row vector, up to the division; else None."""
    if not (isinstance(norm, DividingNorm) and has_scale(norm)):
        return None
    with torch.no_grad():
        rows = norm.divide(torch.eye(width), torch.ones(width, 1)).double().numpy()
    found: Values = rows - at_zero(norm, width)
    return found


def at_zero(norm: DividingNorm, width: int) -> Values:
    """What a norm adds, (D,)."""
    with torch.no_grad():
        found: Values = norm.divide(torch.zeros(1, width), torch.ones(1, 1))[0].double().numpy()
    return found


def linear_mlp(model: nn.Module) -> LastMlp | None:
    """The MLP of the last block, if what its neurons write is linear in their activations.

    None if the model is no transformer, its last block has no MLP, or the MLP has a norm between
    its neurons and their output.
    """
    found = last_mlp(model) if isinstance(model, Transformer) else None
    if found is None or not found.is_last or found.output_matrix() is None:
        return None
    return found


def logits_with_neurons(
    own: LastMlp, tokens: Int[Tensor, "S T"], position: int, neurons: Values
) -> Values:
    """The logits at a position if the neurons' activations there are others.

    This is a pass of the complete model, for those that have no
    :class:`ablab.analysis.methods.read_out.ReadOut`.

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
