"""Generated samples in an entry, for tasks whose samples go on without end, as text does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablab.config import InputError
from ablab.config.files import write_text_atomically
from ablab.experiments.experiment import experiment, variant_label
from ablab.model.generate import Sampling
from ablab.read.samples import continuations
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.store.stored_run import StoredRun

_RUNS = 8
_TOKENS = 240
_TEMPERATURE = 0.8


def kept_samples(folder: Path) -> list[dict[str, Any]]:
    """The samples that an entry's folder holds."""
    try:
        found = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return found if isinstance(found, list) else []


def make_samples(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord], folder: Path
) -> None:
    """Writes what the first seed of each variant generates from nothing, if it is not there yet.

    It needs the corpus and, of a user's own parts, their modules; where they are not at hand the
    entry keeps the samples that it has.
    """
    if not _is_text(record):
        return
    first: dict[str, tuple[int, RunRecord]] = {}
    for place, run in enumerate(runs):
        if run.status in ("finished", "stopped"):
            first.setdefault(variant_label(run.variant), (place, run))
    chosen = list(first.items())[:_RUNS]
    known = {(each["run"], each["step"]) for each in kept_samples(folder)}
    if not chosen or known == {(run.run, run.step) for _, (_, run) in chosen}:
        return
    try:
        settings = experiment(record.definition).runs
        made = [
            {
                "label": label,
                "run": run.run,
                "step": run.step,
                "text": _written(StoredRun(store, run, settings[place])),
            }
            for label, (place, run) in chosen
        ]
    except (InputError, ImportError):  # the corpus or a module is not at hand
        return
    write_text_atomically(folder / "samples.json", json.dumps(made, ensure_ascii=False, indent=1))


def _is_text(record: ExperimentRecord) -> bool:
    task = record.definition.get("task")
    return (task.get("kind") if isinstance(task, dict) else task) == "text"


def _written(run: StoredRun) -> str:
    *_, (text,) = continuations(run, "", _TOKENS, Sampling(_TEMPERATURE), step=run.record.step)
    return text
