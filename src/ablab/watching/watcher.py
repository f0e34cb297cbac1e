"""The watcher of a stack: which steps are watched, and what becomes of them. Axes: R, P, S."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ablab.train.reading import Reader
from ablab.train.stack import Stack
from ablab.train.watcher import Watcher
from ablab.watching.columns import choose_columns
from ablab.watching.flat import FlatStatistics
from ablab.watching.reader import ACTIVATIONS, StatisticReader
from ablab.watching.rows import CompiledRows, EagerRows, RowPass, TracedRows
from ablab.watching.sheet import Sheet
from ablab.watching.sites import find_sites


class StatisticWatcher(Watcher):
    """Takes statistics of a stack's steps.

    Args:
        stack: The stack.
        patterns: Which statistics.
        at: Whether a step is watched.
        compiles: Whether passes over tensors of an eager stack may be compiled programs.

    Raises:
        InputError: A pattern means no statistic.
    """

    def __init__(
        self,
        stack: Stack,
        patterns: Sequence[str],
        at: Callable[[int], bool],
        compiles: bool = False,
    ) -> None:
        self._stack, self._at = stack, at
        sites = find_sites(stack.objective.model, stack.device) if patterns else {}
        columns = choose_columns(patterns, sites, stack.layout, stack.slots)
        self.names = tuple(column.name for column in columns)
        self._sites = sites
        self._columns = columns
        self._compiled_rows = CompiledRows() if compiles else None
        eager: RowPass = self._compiled_rows or EagerRows()
        flat = [each for each in columns if each.place.family not in ACTIVATIONS]
        batch = stack.config.batch_size
        self._flat = FlatStatistics(flat, stack.layout, batch, eager, stack.device) if flat else None
        self._readers = {
            compiled: StatisticReader(
                columns,
                sites,
                stack.task.predicted,
                TracedRows() if compiled else eager,
                batch,
                share_last=not compiled,
            )
            for compiled in (False, True)
        }
        self._sheet = Sheet(self.names)
        self._before: Tensor | None = None
        self._grad: Tensor | None = None
        self._previous: tuple[int, Tensor] | None = None

    def watches(self, step: int) -> bool:
        """Whether a step is watched."""
        return bool(self.names) and self._at(step)

    def reader(self, step: int) -> Reader | None:
        """What is read in a step's passes."""
        reader = self._readers[self._stack.method.compiled]
        return reader if reader.sites and self.watches(step) else None

    def before(self, step: int, theta: Tensor, grad: Tensor) -> None:
        """Keeps copies of what the update changes and a watched step needs."""
        flat = self._flat
        if flat is None:
            return
        watched = self.watches(step)
        self._before = theta.clone() if watched and flat.needs_update else None
        remembered = flat.needs_previous and self.watches(step + 1)
        self._grad = grad.clone() if (watched and flat.needs_grad) or remembered else None

    def after(
        self, step: int, theta: Tensor, slots: Mapping[str, Tensor], kept: Mapping[str, Tensor]
    ) -> Tensor:
        """All statistics of the step, (R, S)."""
        if kept:
            reader = self._readers[self._stack.method.compiled]
            reader.finish(kept, self._sheet)
            reader.forget()
        if self._flat is not None:
            tensors = {"param": theta} | {f"optimizer/{name}": slot for name, slot in slots.items()}
            if self._grad is not None:
                tensors["grad"] = self._grad
            previous = None
            if self._previous is not None and self._previous[0] == step - 1:
                previous = self._previous[1]
            self._flat.take(tensors, self._before, previous, self._sheet)
        return self._sheet.row()

    def done(self, step: int) -> None:
        """Ends a step: what the next one needs of it is kept."""
        flat = self._flat
        self._before = None
        remembered = flat is not None and flat.needs_previous and self.watches(step + 1)
        self._previous = (step, self._grad) if remembered and self._grad is not None else None
        self._grad = None

    def keep(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
        if self._previous is not None:
            step, grad = self._previous
            chosen = torch.tensor(list(indices), device=grad.device, dtype=torch.long)
            self._previous = (step, grad.index_select(0, chosen))
