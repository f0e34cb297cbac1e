"""All of a model's parameters as one flat row, and the views that a model reads. Axes: R, P."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.roles import Role, parameter_roles


@dataclass(frozen=True)
class ParameterLayout:
    """Where each parameter lies in the flat row.

    Attributes:
        names: The parameters' names, in ``named_parameters`` order (tied ones once).
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
        """How many numbers a row has (P)."""
        return sum(shape.numel() for shape in self.shapes)

    def flatten(self, model: nn.Module) -> Float[Tensor, " P"]:
        """A model's parameters as a row of its own memory."""
        return torch.cat([p.detach().reshape(-1) for _, p in model.named_parameters()])

    def views(self, rows: Float[Tensor, "R P"]) -> dict[str, Tensor]:
        """Each parameter by name, of shape (R, …), as views of the rows."""
        parts = torch.split(rows, [shape.numel() for shape in self.shapes], dim=1)
        return {
            name: part.view(rows.shape[0], *shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def matrices(self) -> Float[Tensor, " P"]:
        """One where a number belongs to a parameter of two axes or more, zero elsewhere."""
        return torch.cat([torch.full((s.numel(),), float(len(s) > 1)) for s in self.shapes])
