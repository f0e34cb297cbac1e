"""Finds the states that stored runs continue from."""

from collections.abc import Callable, Iterable, Sequence

from ablab.store.index import StoreError
from ablab.store.initial import buffers_line, state_of_step_0
from ablab.store.run_rows import list_snapshots
from ablab.store.snapshots import read_state
from ablab.store.store import Store
from ablab.train.method import Method
from ablab.train.optimizer import make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import initial_model

UNTIL_COMPILED = "until_compiled"  # a fact of segments that waited for a program

Tell = Callable[[str], None]


def ignore(text: str) -> None:
    """Says nothing."""


def group_by_step(
    store: Store, runs: Sequence[Run], tell: Tell = ignore
) -> list[list[tuple[Run, RunState | None]]]:
    """Runs with the states that they continue from, grouped by step; None for a new run.

    Args:
        store: The store.
        runs: The runs, of equal shapes.
        tell: Called with one line if damaged snapshots are skipped, or if a run starts from other
            parameters than torch draws now.
    """
    drawn = initial_model(runs[0])
    layout = ParameterLayout.of(drawn)
    optimizer_state = make_optimizer(runs[0].train.optimizer_config, layout).state_names
    groups: dict[int, list[tuple[Run, RunState | None]]] = {}
    skipped: list[str] = []
    for run in runs:
        state = last_state(store, run, layout, optimizer_state, tell=skipped.append)
        if state is None:
            state, line = state_of_step_0(store, run, layout)
        else:
            line = buffers_line(store, run, drawn, layout) if run is runs[0] else None
        if line is not None:
            tell(line)
        groups.setdefault(0 if state is None else state.step, []).append((run, state))
    if skipped:
        further = f" (and {len(skipped) - 1} further runs)" if skipped[1:] else ""
        tell(skipped[0] + further)
    return list(groups.values())


def last_methods(store: Store, runs: Sequence[Run]) -> dict[str, Method]:
    """The methods by which runs were trained last, by run id; without stored segments, none.

    Segments that were trained eagerly until a program was compiled do not count.
    """
    found = {}
    for run, segments in store.segments(run.id for run in runs).items():
        meant = [each for each in segments if not each.get(UNTIL_COMPILED)]
        if meant and "gradients" in meant[-1]:
            found[run] = Method(**meant[-1]["gradients"])
    return found


def last_devices(store: Store, runs: Iterable[str]) -> dict[str, str]:
    """The kinds of device on which runs were trained last, by run id; without segments, none."""
    stored = store.segments(runs)
    return {
        run: segments[-1]["device"]
        for run, segments in stored.items()
        if segments and "device" in segments[-1]
    }


def last_state(
    store: Store,
    run: Run,
    layout: ParameterLayout,
    optimizer_state: Sequence[str],
    last: int | None = None,
    tell: Tell = ignore,
) -> RunState | None:
    """The latest state that a run can continue from; damaged snapshots are skipped.

    Args:
        store: The store.
        run: The run.
        layout: The layout of its parameters.
        optimizer_state: The names of the optimizer's state tensors.
        last: The latest step to consider; by default the run's last step.
        tell: Called with one line if damaged snapshots are skipped.

    Returns:
        The state, or None if the run has to start from the beginning.
    """
    end = run.train.steps if last is None else last
    state: RunState | None = None
    skipped: list[int] = []
    for snapshot in reversed(list_snapshots(store, run.id)):
        if not snapshot.has_optimizer or snapshot.step > end:
            continue
        try:
            state = read_state(store, run.id, snapshot.step, layout, optimizer_state)
            break
        except StoreError:
            skipped.append(snapshot.step)
    if skipped:
        steps = ", ".join(map(str, reversed(skipped)))
        snapshots = "snapshot" if len(skipped) == 1 else "snapshots"
        tell(
            f"run {run.id} continues from step {0 if state is None else state.step}: its "
            f"{snapshots} of step {steps} cannot be read (ablab check says more)"
        )
    return state
