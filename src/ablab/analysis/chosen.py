"""Which stored runs are analyzed, and at which steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablab.analysis.units import chosen_steps
from ablab.config import InputError, Problem, counted, nearest
from ablab.experiments.cell_text import in_cell, matches, parse_cell
from ablab.store.metrics import experiment_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store, StoreError
from ablab.store.stored_run import StoredRun

_NAMED = 3  # runs in a note


@dataclass(frozen=True)
class Chosen:
    """Runs and steps that can be analyzed.

    Attributes:
        runs: The runs.
        steps: The steps of each, starting with 0, the control.
        notes: What was left out and why, one sentence each.
    """

    runs: tuple[StoredRun, ...]
    steps: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def models(self) -> int:
        """The number of models."""
        return sum(map(len, self.steps))


def choose(runs: Sequence[StoredRun], steps: str | Sequence[int]) -> Chosen:
    """The runs that have snapshots of the chosen steps.

    Runs that are still being trained are left out, and so are those that lack a step, with a note.

    Raises:
        InputError: No run is left.
    """
    usable: list[tuple[StoredRun, tuple[int, ...]]] = []
    left_out: dict[str, list[str]] = {}
    error: InputError | None = None
    for run in runs:
        if run.status == "running":
            left_out.setdefault("still being trained", []).append(run.id)
            continue
        try:
            usable.append((run, tuple(chosen_steps(run, steps))))
        except InputError as problem:
            error = error or problem
            why = "without a snapshot" if not run.snapshots else f"without step {steps}"
            left_out.setdefault(why, []).append(run.id)
    if not usable:
        if error is not None:
            raise error
        raise InputError(
            Problem(
                "no run can be analyzed yet",
                given="; ".join(f"{len(ids)} {why}" for why, ids in left_out.items()),
                expected="runs that have been trained",
            )
        )
    notes = tuple(
        f"{counted(len(ids), 'run')} left out, {why}: {', '.join(ids[:_NAMED])}"
        + (", …" if len(ids) > _NAMED else "")
        for why, ids in left_out.items()
    )
    return Chosen(tuple(run for run, _ in usable), tuple(each for _, each in usable), notes)


def is_experiment(store: Store, name: str) -> bool:
    """Whether a store has an experiment or an entry with a name."""
    try:
        store.experiment(name)
    except StoreError:
        return False
    return True


def stored_runs(
    store: Store, subject: str | ExperimentRecord, where: str | None = None
) -> list[StoredRun]:
    """The runs of an experiment or an entry, or the run whose id starts with a name.

    Args:
        store: The store.
        subject: The experiment, its name or that of its entry, or the id. A name is that of the
            experiment that was asked for last.
        where: Only the runs of this cell: ``key=value, …``, as in expectations.

    Raises:
        StoreError: There is no such experiment or run.
        InputError: No run is in the cell, or a cell is given for one run.
    """
    try:
        record = store.experiment(subject) if isinstance(subject, str) else subject
    except StoreError as error:
        try:
            run = store.run_row(str(subject))["id"]
        except StoreError:
            raise error from None
        if where is not None:
            raise InputError(
                Problem(
                    "one run was asked for, so there are no cells to choose from",
                    "where",
                    given=where,
                    expected="an experiment's name",
                )
            ) from None
        return [StoredRun(store, each) for each in store.run_records([run])]
    runs = experiment_runs(store, record)
    if where is not None:
        runs = _in_cell(runs, where)
    return [StoredRun(store, each) for each in runs]


def _in_cell(runs: Sequence[RunRecord], text: str) -> list[RunRecord]:
    cell = parse_cell(text)
    known = list(dict.fromkeys(key for run in runs for key in run.variant))
    for key, value in cell.items():
        values = list(dict.fromkeys(run.variant[key] for run in runs if key in run.variant))
        if not any(matches(values, value)):
            raise InputError(
                Problem(
                    f"no run has {key}={value}" if values else f"{key} is not a key of the grid",
                    "--where",
                    given=text,
                    expected=f"{key} is one of {', '.join(map(str, values))}"
                    if values
                    else "one of " + ", ".join(known),
                    suggestion=None if values else nearest(key, known),
                )
            )
    there = in_cell([run.variant for run in runs], cell)
    found = [run for run, is_there in zip(runs, there, strict=True) if is_there]
    if not found:
        raise InputError(Problem("no run is in this cell", "--where", given=text))
    return found
