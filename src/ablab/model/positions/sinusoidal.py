"""Sinusoidal positions: p_{t,2i} = sin(t / 10000^{2i/D}), p_{t,2i+1} = cos of the same.

Vaswani et al., "Attention is all you need" (2017), section 3.5.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.config import POSITIONS
from ablab.model.parts import InputPosition, positions


@POSITIONS.register("sinusoidal")
class Sinusoidal(InputPosition):
    """Sines and cosines with geometrically increasing wavelengths, added to the embedding."""

    def __init__(self, length: int, d_model: int) -> None:
        super().__init__(length, d_model)
        self.d_model = d_model

    def forward(self, first: int, length: int, device: torch.device) -> Float[Tensor, "T D"]:
        """Sines at even indices, cosines at odd ones."""
        even = torch.arange(0, self.d_model, 2, device=device)  # 2i
        places = positions(first, length, device)
        rates = torch.pow(10000.0, -even.to(places.dtype) / self.d_model)
        angles = places[:, None] * rates  # (T, D / 2)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (T, D or D + 1)
        return waves[:, : self.d_model]
