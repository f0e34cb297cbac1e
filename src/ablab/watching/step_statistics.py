"""The collector of a stack's statistics, called at every step. Axes: R, P, S."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ablab.config import InputError, ticking
from ablab.train.collector import StatisticsCollector
from ablab.train.optimizer import like_parameters
from ablab.train.run import Run, by_stack_key
from ablab.train.stack import Stack
from ablab.train.taps import TapReducer
from ablab.watching.captures import check_capture_patterns, every_tensor
from ablab.watching.column_buffer import ColumnBuffer
from ablab.watching.columns import Column, check_patterns, choose_columns, every_column
from ablab.watching.config import WatchConfig
from ablab.watching.names import DEFAULT
from ablab.watching.native_rows import NativeRows, Reduce, native_reduce
from ablab.watching.parameter_rows import (
    NativeParameterRows,
    ParameterRows,
    TorchParameterRows,
)
from ablab.watching.parameter_statistics import ParameterStatistics
from ablab.watching.rows import EagerRows, RowPass, TracedRows
from ablab.watching.site_statistics import ACTIVATIONS, SiteStatistics
from ablab.watching.sites import find_sites
from ablab.watching.watchable import watchable


class StepStatistics(StatisticsCollector):
    """Computes statistics of a stack's steps.

    Args:
        stack: The stack; its training method must be final.
        patterns: Patterns of the statistics; a pattern that matches none is ignored.
        at: Whether a step is watched.
    """

    def __init__(
        self,
        stack: Stack,
        patterns: Sequence[str],
        at: Callable[[int], bool],
    ) -> None:
        self._stack, self._at = stack, at
        sites = find_sites(stack.objective.model, stack.device) if patterns else {}
        state = like_parameters(stack.optimizer_state, stack.theta)
        every = every_column(patterns, sites, stack.layout, state)
        columns = choose_columns(patterns, every)
        self.names = tuple(column.name for column in columns)
        self._sites = sites
        self._columns = columns
        is_read = stack.device.type == "cpu" and stack.theta.dtype is torch.float32
        native = native_reduce() if is_read else None
        self._flat = self._parameter_statistics(native)
        self._tap_reducer = self._site_statistics(native)
        self._buffer = ColumnBuffer(self.names)
        self._before: Tensor | None = None
        self._grad: Tensor | None = None
        self._previous: tuple[int, Tensor] | None = None

    def _parameter_statistics(self, native: Reduce | None) -> ParameterStatistics | None:
        stack = self._stack
        flat = [each for each in self._columns if each.place.family not in ACTIVATIONS]
        if not flat:
            return None
        parameter_rows: ParameterRows
        if native is None:
            parameter_rows = TorchParameterRows(stack.layout, stack.device)
        else:
            parameter_rows = NativeParameterRows(stack.layout, native)
        return ParameterStatistics(flat, stack.layout, stack.config.batch_size, parameter_rows)

    def _site_statistics(self, native: Reduce | None) -> SiteStatistics:
        row_pass: RowPass = EagerRows() if native is None else NativeRows(native)
        if self._stack.method.compiled:
            row_pass = TracedRows()
        return SiteStatistics(
            self._columns,
            self._sites,
            self._stack.task.predicted,
            self._stack.config.batch_size,
            row_pass,
            native,
            self._stack.method,
        )

    def watches(self, step: int) -> bool:
        """Whether a step is watched."""
        return bool(self.names) and self._at(step)

    def tap_reducer(self, step: int) -> TapReducer | None:
        """The reducer to apply at sites during a step's passes, or None."""
        return self._tap_reducer if self._tap_reducer.sites and self.watches(step) else None

    def before(self, step: int, theta: Tensor, grad: Tensor) -> None:
        """Copies tensors that the update changes and a watched step needs."""
        flat = self._flat
        if flat is None:
            return
        watched = self.watches(step)
        self._before = theta.clone() if watched and flat.needs_update else None
        remembered = flat.needs_previous and self.watches(step + 1)
        self._grad = grad.clone() if (watched and flat.needs_grad) or remembered else None

    def after(
        self,
        step: int,
        theta: Tensor,
        optimizer_state: Mapping[str, Tensor],
        tapped: Mapping[str, Tensor],
    ) -> Tensor:
        """All statistics of the step, (R, S)."""
        if tapped:
            self._tap_reducer.finish(tapped, self._buffer)
            self._tap_reducer.forget()
        if self._flat is not None:
            tensors = {"param": theta} | {
                f"optimizer/{name}": slot
                for name, slot in like_parameters(optimizer_state, theta).items()
            }
            if self._grad is not None:
                tensors["grad"] = self._grad
            previous = None
            if self._previous is not None and self._previous[0] == step - 1:
                previous = self._previous[1]
            self._flat.compute(tensors, self._before, previous, self._buffer)
        return self._buffer.row()

    def done(self, step: int) -> None:
        """Ends a step; stores its gradient if the next step needs it."""
        flat = self._flat
        self._before = None
        remembered = flat is not None and flat.needs_previous and self.watches(step + 1)
        self._previous = (step, self._grad) if remembered and self._grad is not None else None
        self._grad = None

    def forget(self) -> None:
        """Drops the previous gradient, after the runs' states were replaced."""
        self._previous = None

    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows the stack to some of its runs.

        Args:
            indices: The positions of the remaining runs.
        """
        if self._previous is not None:
            step, grad = self._previous
            chosen = torch.tensor(list(indices), device=grad.device, dtype=torch.long)
            self._previous = (step, grad.index_select(0, chosen))


def check_watching(runs: Sequence[Run]) -> None:
    """Checks that each pattern of statistics or captures matches at least one in some run.

    Args:
        runs: All runs of an experiment.

    Raises:
        InputError: A pattern matches no statistic, or no tensor.
    """
    shapes = [group[-1] for group in by_stack_key(runs).values()]
    found: dict[tuple[str, ...], list[Column]] = {}
    tensors: dict[tuple[str, ...], list[str]] = {}
    for run in ticking(shapes, len(shapes), "checking what is watched in", "shape"):
        assert isinstance(run.watch, WatchConfig), "an experiment's runs have a watch section"
        recorder = run.watch.recorder
        patterns = run.watch.statistics + (recorder.statistics if recorder is not None else ())
        patterns = tuple(pattern for pattern in patterns if pattern not in ("*", *DEFAULT))
        captured = tuple(pattern for each in run.watch.captures for pattern in each.what)
        if not patterns and not captured:
            continue
        try:
            there = watchable(run)
        except InputError:
            raise
        except (Exception, SystemExit):  # training reports this error and saves it with the run
            return
        own = there.sites, there.layout, there.watched_state
        if patterns:
            found.setdefault(patterns, []).extend(every_column(patterns, *own))
        if captured:
            tensors.setdefault(captured, []).extend(every_tensor(*own))
    for patterns, every in found.items():
        check_patterns(patterns, every)
    for captured, names in tensors.items():
        check_capture_patterns(captured, names)
