"""Where stored runs continue from."""

from collections.abc import Sequence

from ablab.store.index import StoreError
from ablab.store.snapshots import read_state
from ablab.store.store import Store
from ablab.train.optimizer import make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run import Run
from ablab.train.stack import RunState, initial_model


def group_by_step(store: Store, runs: Sequence[Run]) -> list[list[tuple[Run, RunState | None]]]:
    """Runs with the state that each continues from, those at one step together."""
    layout = ParameterLayout.of(initial_model(runs[0]))
    optimizer_state = make_optimizer(runs[0].train.optimizer_config, layout).state_names
    groups: dict[int, list[tuple[Run, RunState | None]]] = {}
    for run in runs:
        state = last_state(store, run, layout, optimizer_state)
        groups.setdefault(0 if state is None else state.step, []).append((run, state))
    return list(groups.values())


def last_state(
    store: Store,
    run: Run,
    layout: ParameterLayout,
    optimizer_state: Sequence[str],
    last: int | None = None,
) -> RunState | None:
    """The newest state that a run can continue from; a damaged snapshot is passed over.

    Args:
        store: The store.
        run: The run.
        layout: Where its parameters lie.
        optimizer_state: The optimizer's state tensors.
        last: The last step whose state will do; by default the run's own last.
    """
    rows = store.index.rows(
        """SELECT step FROM snapshots WHERE run = ? AND has_optimizer AND step <= ?
           ORDER BY step DESC""",
        run.id,
        run.train.steps if last is None else last,
    )
    for row in rows:
        try:
            return read_state(store, run.id, row["step"], layout, optimizer_state)
        except StoreError:
            continue
    return None
