"""The numbers of a step, gathered in one tensor without touching them one by one. Axes: R, S."""

from collections.abc import Sequence

import torch
from torch import Tensor


class ColumnBuffer:
    """Takes blocks of numbers with their names, and gives one row of them for each run.

    The blocks of every step must come in the same order with the same names, so that their order is
    worked out once.

    Args:
        wanted: The columns in their order (S).
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = list(wanted)
        self._blocks: list[Tensor] = []
        self._names: list[str] = []
        self._order: Tensor | None = None

    @property
    def is_known(self) -> bool:
        """Whether the order is worked out, so that names are needed no more."""
        return self._order is not None

    def add(self, values: Tensor, names: Sequence[str]) -> None:
        """Takes a block (R, K) and its K names, which may be left empty when ``is_known``."""
        self._blocks.append(values.to(torch.float32))
        if self._order is None:
            self._names += names

    def row(self) -> Tensor:
        """The numbers of the step, (R, S); the buffer is empty again."""
        together = torch.cat(self._blocks, dim=1)
        if self._order is None:
            place = {name: number for number, name in enumerate(self._names)}
            order = [place[name] for name in self._wanted]
            self._order = torch.tensor(order, device=together.device)
            self._names = []
        self._blocks = []
        return together.index_select(1, self._order)
