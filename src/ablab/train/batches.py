"""The data of training steps: tokens, targets and dropout words. Axes: R runs, B, T, P; N words."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batches:
    """Batches of some steps and runs. Leading axes are removed by indexing.

    Attributes:
        tokens: (…, R, B, T), or (…, R, T, B) in the innermost layout.
        targets: (…, R, B, P), or (…, R, P, B).
        noise: Random words for dropout, (…, R, B, N) or (…, R, N, B); None without dropout.
    """

    tokens: Tensor
    targets: Tensor
    noise: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batches":
        """Applies a function to each tensor."""
        noise = None if self.noise is None else function(self.noise)
        return Batches(function(self.tokens), function(self.targets), noise)

    def at(self, index: int | slice | Tensor) -> "Batches":
        """Indexes the first axis."""
        return self.map(lambda tensor: tensor[index])

    def part(self, axis: int, start: int, length: int) -> "Batches":
        """A slice along another axis."""
        return self.map(lambda tensor: tensor.narrow(axis, start, length))

    @property
    def tensors(self) -> list[Tensor]:
        """Tokens, targets and, with dropout, noise."""
        return [self.tokens, self.targets] + ([] if self.noise is None else [self.noise])
