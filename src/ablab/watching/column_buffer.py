"""Collects the statistics of a step in one tensor, without a transfer per value. Axes: R, S."""

from collections.abc import Sequence

import torch
from torch import Tensor


class ColumnBuffer:
    """Collects named blocks of values and returns them as one row per run.

    The blocks of every step must arrive in the same order and with the same names, because the
    order of the columns is computed only once.

    Args:
        wanted: The names of the columns, in order (S).
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = list(wanted)
        self._blocks: list[Tensor] = []
        self._names: list[str] = []
        self._order: Tensor | None = None

    @property
    def is_known(self) -> bool:
        """Whether the order of the columns is computed, so that names are no longer needed."""
        return self._order is not None

    def add(self, values: Tensor, names: Sequence[str]) -> None:
        """Adds a block (R, K) and its K names, which may be omitted if ``is_known``."""
        self._blocks.append(values.to(torch.float32))
        if self._order is None:
            self._names += names

    def row(self) -> Tensor:
        """Returns the values of the step, (R, S), and empties the buffer."""
        together = torch.cat(self._blocks, dim=1)
        if self._order is None:
            place = {name: number for number, name in enumerate(self._names)}
            order = [place[name] for name in self._wanted]
            self._order = torch.tensor(order, device=together.device)
            self._names = []
        self._blocks = []
        return together.index_select(1, self._order)
