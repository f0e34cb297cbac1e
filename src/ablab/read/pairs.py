"""Training and held-out curves of stored runs, read together; cached in the index."""

from collections.abc import Sequence

from ablab.experiments.identity import digest
from ablab.read.curves.together import Together, from_data, read_together
from ablab.read.readings import by_meaning, curves_of, read_cached
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.config import Direction

COLUMNS = ("train_loss", "eval_loss")


def experiment_pairs(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    columns: tuple[str, str] = COLUMNS,
) -> dict[str, Together]:
    """What two columns of an experiment's runs say together, by run id.

    Runs that lack one of the columns are left out.

    Args:
        store: The store.
        record: The experiment.
        runs: The runs to read.
        columns: The training column and the held-out one.
    """
    found: dict[str, Together] = {}
    for _, direction, some in by_meaning(store, record, runs, columns[1]):
        found |= _pairs(store, record, some, columns, direction)
    return {run.run: found[run.run] for run in runs if run.run in found}


def _pairs(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    columns: tuple[str, str],
    direction: Direction | None,
) -> dict[str, Together]:
    def read(left: list[str]) -> dict[str, Together]:
        frame = experiment_metrics(
            store, record, lambda names: [each for each in names if each in columns]
        )
        training, held_out = (curves_of(frame, column) for column in columns)
        return {
            run: read_together(training[run], held_out[run], columns, direction)
            for run in left
            if run in training and run in held_out
        }

    return read_cached(store, runs, " & ".join(columns), digest([direction]), read, from_data)
