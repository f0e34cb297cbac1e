"""Learned positions: one vector per position, added to the embedding (Gehring et al., 2017)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.config import POSITIONS
from ablab.model.parts import InputPosition
from ablab.model.roles import Role


@POSITIONS.register("learned")
class Learned(InputPosition):
    """A table with one row for each position that the model can read."""

    ablab_roles: ClassVar = {"weight": Role.EMBEDDING}
    ablab_drawn = True

    def __init__(self, length: int, d_model: int) -> None:
        super().__init__(length, d_model)
        self.limit = length
        self.weight = nn.Parameter(torch.empty(length, d_model))

    def forward(self, first: int, length: int, device: torch.device) -> Float[Tensor, "T D"]:
        """The rows from ``first`` on."""
        return self.weight[first : first + length]

    def extra_repr(self) -> str:
        """The shape of the table, shown by ``print``."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"
