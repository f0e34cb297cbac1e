"""How a stack's gradients are computed. Does not import torch."""

from dataclasses import dataclass
from typing import Literal

from ablab.config import counted


@dataclass(frozen=True)
class Method:
    """A way to compute the gradients of a stack. Methods agree up to rounding.

    Attributes:
        engine: ``solo`` for a single run, ``stack`` for runs along a run axis.
        compiled: Whether the gradient is one compiled program.
        layout: ``usual`` has the batch as the first axis, like model code; ``innermost`` has it
            last and must be compiled.
        attention: ``fused`` uses torch's kernel, ``plain`` uses matrix products.
        rows: Runs per call; None for all. More than one run uses ``vmap``.
        samples: Samples per call; None for the complete batch. Gradients of the parts are added.

    Raises:
        ValueError: The innermost layout is not compiled.
    """

    engine: Literal["solo", "stack"]
    compiled: bool = False
    layout: Literal["usual", "innermost"] = "usual"
    attention: Literal["fused", "plain"] = "fused"
    rows: int | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.layout == "innermost" and not self.compiled:
            raise ValueError("the innermost layout must be compiled")

    @property
    def vmapped(self) -> bool:
        """Whether one call computes several runs."""
        return self.engine == "stack" and self.rows != 1

    @property
    def title(self) -> str:
        """The method in a few words, for tables and messages."""
        parts: list[str] = [self.engine]
        if self.compiled:
            parts.append("compiled")
        if self.layout == "innermost":
            parts.append("batch innermost")
        elif self.attention == "plain":
            parts.append("plain attention")
        if self.engine == "stack" and self.rows is not None:
            parts.append(f"{counted(self.rows, 'run')} a call")
        if self.samples is not None:
            parts.append(f"{counted(self.samples, 'sample')} a call")
        return ", ".join(parts)


SOLO = Method("solo")
STACK = Method("stack")
