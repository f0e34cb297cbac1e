"""How a stack's gradients are computed. Does not import torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """A way to compute the gradients of a stack; none changes more than rounding.

    Attributes:
        engine: ``solo`` for one run by itself, ``stack`` for runs along a run axis.
        compiled: Whether the gradient is one compiled program.
        layout: Where the batch lies in memory: first, as model code has it (``usual``), or last
            (``innermost``; compiled alone).
        attention: ``fused`` by torch's kernel, ``plain`` by matrix products.
        rows: How many runs one call takes; None takes all. Beyond one they are under ``vmap``.
        samples: How many of a batch's samples one call takes; None takes all. Gradients of the
            parts are added up.
    """

    engine: Literal["solo", "stack"]
    compiled: bool = False
    layout: Literal["usual", "innermost"] = "usual"
    attention: Literal["fused", "plain"] = "fused"
    rows: int | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.layout == "innermost" and not self.compiled:
            raise ValueError("the innermost layout is for compiled programs")

    @property
    def vmapped(self) -> bool:
        """Whether several runs go through one call."""
        return self.engine == "stack" and self.rows != 1

    @property
    def title(self) -> str:
        """The method in a few words, for tables."""
        parts: list[str] = [self.engine]
        if self.compiled:
            parts.append("compiled")
        if self.layout == "innermost":
            parts.append("batch innermost")
        elif self.attention == "plain":
            parts.append("plain attention")
        if self.engine == "stack" and self.rows is not None:
            parts.append(f"{self.rows} run{'s' if self.rows > 1 else ''} a call")
        if self.samples is not None:
            parts.append(f"{self.samples} samples a call")
        return ", ".join(parts)


SOLO = Method("solo")
STACK = Method("stack")
