"""Stores with a trained experiment, for tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

import ablab
from ablab.api import Result
from ablab.execute.options import Compiling, Options
from ablab.execute.orchestrate import orchestrate
from ablab.execute.progress import Reporter
from ablab.execute.status import status
from ablab.experiments.experiment import Experiment
from ablab.store.metrics import experiment_metrics, experiment_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store

# Two runs whose rate rises too far, so that they go back to their best states.
WILD = {
    "name": "wild",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"kind": "bigram"},
    "train": {
        "batch_size": 16, "loss": "mse", "optimizer": "sgd", "lr": 1000.0, "momentum": 0.5,
        "schedule": {"warmup": 60},
        "recover": {"every": 7, "above": 0.5, "at_most": 9, "lr_factor": 0.25},
    },
    "seeds": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained experiment of which no entry was written; otherwise as ``ablab.api.Result``."""

    experiment: Experiment
    store: Store
    record: ExperimentRecord
    trained: int
    complete: bool

    @cached_property
    def runs(self) -> list[RunRecord]:
        return experiment_runs(self.store, self.record)

    def metrics(self, columns: Sequence[str] = ()) -> pl.DataFrame:
        return experiment_metrics(self.store, self.record, list(columns))


def train(
    asked: dict[str, Any],
    store: Path,
    *overrides: str,
    compile: Compiling = "auto",
    pause: Callable[[], bool] = lambda: False,
    quiet: bool = True,
    while_training: Callable[[], object] = lambda: None,
    **options: Any,
) -> Trained:
    """Trains an experiment in this process; writes no entry, which would take most of the time."""
    experiment, opened = ablab.experiment(asked, *overrides), Store(store, create=True)
    chosen = Options(**{"workers": 1, "compiling": compile} | options)
    with status(quiet) as shown:
        reporter = Reporter(shown)
        done = orchestrate(
            experiment, opened, chosen, "ablab.run(…)", reporter, pause, while_training
        )
    return Trained(experiment, opened, done.record, done.trained, done.complete)


def train_and_write(asked: dict[str, Any], store: Path, *overrides: str, **options: Any) -> Result:
    """Trains an experiment in this process and writes its entry, without a word."""
    return ablab.run(
        ablab.experiment(asked, *overrides), store=store, quiet=True, **{"workers": 1} | options
    )


def flip(path: Path, place: float, bit: int = 3) -> bytes:
    """Flips one bit of a file, ``place`` of the way through it; returns its content before."""
    before = path.read_bytes()
    content = bytearray(before)
    content[min(len(content) - 1, int(place * len(content)))] ^= 1 << bit
    path.write_bytes(content)
    return before
