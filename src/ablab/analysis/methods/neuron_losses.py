"""Losses without single neurons of a transformer's last MLP. Axes: N, Q, D, M, V; J neurons.

What comes after the last MLP's neurons is linear up to the last norm, so the residual stream
without a neuron differs by a vector of its own times a number. One pass serves all neurons.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from ablab.analysis.methods.removal import Removal
from ablab.analysis.methods.samples import Samples
from ablab.model.base import Model
from ablab.model.block import Block
from ablab.model.transformer import Transformer

_ENTRIES = 2**23  # of tensors at once


@dataclass(frozen=True)
class NeuronLosses:
    """The last MLP of a transformer and what follows it.

    Attributes:
        prefix: The prefix of its block's sites.
        outputs: What one unit of each neuron adds to the residual stream, (M, D).
        norms: The norms that follow the sum.
        unembedding: The last layer.
        residual: Whether its input is added to its output.
    """

    prefix: str
    outputs: Float[Tensor, "M D"]
    norms: tuple[nn.Module, ...]
    unembedding: nn.Module
    residual: bool

    @torch.no_grad()
    def losses_without(
        self, removal: Removal, samples: Samples, neurons: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The losses with single neurons replaced, (N, neurons).

        Args:
            removal: How parts are replaced.
            samples: Its samples.
            neurons: The numbers of the neurons.
        """
        names = ["mlp.post", "mlp_out", *(["resid_mid"] if self.residual else [])]
        hidden, out, *before = removal.read(*(f"{self.prefix}.{name}" for name in names))
        stream = sum(before, out)[:, -samples.targets.shape[1] :]  # (N, Q, D)
        change = (removal.new_values(hidden) - hidden)[:, -samples.targets.shape[1] :]  # (N, Q, M)
        step = max(1, _ENTRIES // max(stream.numel(), stream[..., 0].numel() * self._vocabulary))
        found = []
        for start in range(0, len(neurons), step):
            chosen = torch.from_numpy(neurons[start : start + step])
            added = change[..., chosen].movedim(-1, 0)[..., None] * self.outputs[chosen, None, None]
            found.append(samples.losses(self._logits(stream + added)).numpy())  # (J, N)
        return np.concatenate(found).T

    @property
    def _vocabulary(self) -> int:
        return len(next(self.unembedding.parameters()))

    def _logits(self, x: Float[Tensor, "J N Q D"]) -> Tensor:
        for norm in self.norms:
            x = norm(x)
        logits: Tensor = self.unembedding(x)
        return logits


def neuron_losses(model: Model) -> NeuronLosses | None:
    """The last MLP; None if the model is no transformer, or normalizes the MLP's neurons."""
    if not isinstance(model, Transformer):
        return None
    number = len(model.blocks) - 1
    block, config = model.blocks[number], model.config.block(number)
    assert isinstance(block, Block), "a transformer's blocks"
    own = config.mlp
    if own is None or (own.norm != "none" and own.norm_place == "after"):
        return None
    mlp = block.mlp
    outputs = torch.eye(config.d_model) if mlp.projection is None else mlp.projection.weight.T
    if block.scale2 is not None:
        outputs = outputs * block.scale2.weight
    norms = (model.norm,) if block.pre else (block.norm2, model.norm)
    return NeuronLosses(
        f"blocks.{number}", outputs.detach(), norms, model.unembedding, config.residual
    )
