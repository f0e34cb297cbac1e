"""A model's parameters as one flat row, and views of it by name. Axes: R runs, P parameters."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.roles import Role, parameter_roles


@dataclass(frozen=True)
class ParameterLayout:
    """The position of each parameter in the flat row.

    Attributes:
        names: The names of the parameters in ``named_parameters`` order, without duplicates.
        shapes: Their shapes.
        roles: Their roles.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    roles: tuple[Role, ...]

    @classmethod
    def of(cls, model: nn.Module) -> "ParameterLayout":
        """The layout of a model's parameters."""
        named = list(model.named_parameters())
        return cls(
            tuple(name for name, _ in named),
            tuple(p.shape for _, p in named),
            tuple(parameter_roles(model).values()),
        )

    @property
    def size(self) -> int:
        """The length of a row (P)."""
        return sum(shape.numel() for shape in self.shapes)

    @property
    def starts(self) -> tuple[int, ...]:
        """The position of each parameter's first entry in a row."""
        ends = accumulate((shape.numel() for shape in self.shapes), initial=0)
        return tuple(ends)[: len(self.shapes)]

    def flatten(self, model: nn.Module) -> Float[Tensor, " P"]:
        """Copies a model's parameters to a row."""
        return torch.cat([p.detach().reshape(-1) for _, p in model.named_parameters()])

    def views(self, rows: Float[Tensor, "R P"]) -> dict[str, Tensor]:
        """Views of the rows, (R, …) each, by the name of the parameter."""
        parts = torch.split(rows, [shape.numel() for shape in self.shapes], dim=1)
        return {
            name: part.view(rows.shape[0], *shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def matrices(self) -> Float[Tensor, " P"]:
        """One for entries of parameters with two or more axes, zero for all others."""
        return torch.cat([torch.full((s.numel(),), float(len(s) > 1)) for s in self.shapes])
