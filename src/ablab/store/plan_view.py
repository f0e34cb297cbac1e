"""What is left to train of an experiment that a store may not know yet; nothing is written."""

from pathlib import Path

from ablab.experiments.experiment import Experiment
from ablab.store.store import Store


def left_to_train(asked: Experiment, path: str | Path) -> dict[str, int]:
    """Steps that are left to train, by run id, were the experiment carried out now.

    Stop rules are not looked at: a run that one would end early counts in full.
    """
    steps = {run.id: run.train.steps for run in asked.runs}
    if not (Path(path) / "index.sqlite").is_file():
        return steps
    store = Store(path)
    rows = store.index.rows("SELECT id, step, outcome FROM runs")
    stored = {row["id"]: row for row in rows if row["id"] in steps}
    store.close()
    return {
        run: asked_for - (stored[run]["step"] if run in stored else 0)
        for run, asked_for in steps.items()
        if run not in stored or (stored[run]["outcome"] is None and stored[run]["step"] < asked_for)
    }
