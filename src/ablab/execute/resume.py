"""Finds the states that stored runs continue from."""

from collections.abc import Callable, Sequence

from ablab.store.index import StoreError
from ablab.store.initial import buffers_line, state_of_step_0
from ablab.store.run_rows import list_snapshots
from ablab.store.snapshots import read_state
from ablab.store.store import Store
from ablab.train.optimizer import make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run import Run
from ablab.train.stack import RunState, initial_model


def group_by_step(
    store: Store, runs: Sequence[Run], tell: Callable[[str], None]
) -> list[list[tuple[Run, RunState | None]]]:
    """Runs with the states that they continue from, grouped by step; None for a new run.

    Args:
        store: The store.
        runs: The runs.
        tell: Called with one line if a run starts from other parameters than torch draws now.
    """
    drawn = initial_model(runs[0])
    layout = ParameterLayout.of(drawn)
    optimizer_state = make_optimizer(runs[0].train.optimizer_config, layout).state_names
    groups: dict[int, list[tuple[Run, RunState | None]]] = {}
    for run in runs:
        state = last_state(store, run, layout, optimizer_state)
        if state is None:
            state, line = state_of_step_0(store, run, layout)
        else:
            line = buffers_line(store, run, drawn, layout) if run is runs[0] else None
        if line is not None:
            tell(line)
        groups.setdefault(0 if state is None else state.step, []).append((run, state))
    return list(groups.values())


def last_state(
    store: Store,
    run: Run,
    layout: ParameterLayout,
    optimizer_state: Sequence[str],
    last: int | None = None,
) -> RunState | None:
    """The latest state that a run can continue from; damaged snapshots are skipped.

    Args:
        store: The store.
        run: The run.
        layout: The layout of its parameters.
        optimizer_state: The names of the optimizer's state tensors.
        last: The latest step to consider; by default the run's last step.

    Returns:
        The state, or None if the run has to start from the beginning.
    """
    end = run.train.steps if last is None else last
    for snapshot in reversed(list_snapshots(store, run.id)):
        if not snapshot.has_optimizer or snapshot.step > end:
            continue
        try:
            return read_state(store, run.id, snapshot.step, layout, optimizer_state)
        except StoreError:
            continue
    return None
