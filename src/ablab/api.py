"""The bench from Python: run an experiment, open a store."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ablab.execute.conduct import conduct
from ablab.execute.options import DeviceName, Engine, Options
from ablab.execute.progress import Reporter, make_reporter
from ablab.experiments.experiment import Experiment, experiment
from ablab.logbook.entry import write_entry
from ablab.read.summary import VariantSummary, summarise, table
from ablab.store.handle import StoredRun
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store


@dataclass(frozen=True)
class OpenStore:
    """A store opened for reading.

    Attributes:
        store: The store itself.
    """

    store: Store

    @property
    def experiments(self) -> list[ExperimentRecord]:
        """Every experiment, in the order in which they were last asked for."""
        return self.store.experiments()

    def runs(self, experiment: str | None = None) -> list[RunRecord]:
        """The store's runs, or an experiment's; see :meth:`ablab.store.store.Store.runs`."""
        return self.store.runs(experiment)

    def run(self, run: str) -> StoredRun:
        """A run by its id or a unique beginning of it.

        Raises:
            StoreError: There is none, or several.
        """
        run = self.store.run_row(run)["id"]
        (row,) = self.store.index.rows(
            """SELECT e.name, e.definition FROM members m JOIN experiments e ON e.id = m.experiment
               WHERE m.run = ? ORDER BY m.steps DESC, e.asked DESC LIMIT 1""",
            run,
        )
        asked = experiment(json.loads(row["definition"]))
        settings = next(each for each in asked.runs if each.id == run)
        record = next(each for each in self.store.runs() if each.run == run)
        return StoredRun(self.store, record, settings)

    def metrics(self, experiment: str, columns: list[str] | None = None) -> pl.DataFrame:
        """A row for each run and step; see :func:`ablab.store.metrics.experiment_metrics`."""
        return experiment_metrics(self.store, experiment, columns or [])

    def __str__(self) -> str:
        names = list(dict.fromkeys(record.name for record in self.experiments))
        return f"{self.store.path}: {len(self.runs())} runs of {', '.join(names) or 'nothing yet'}"


@dataclass(frozen=True)
class Result:
    """What running an experiment came to.

    Attributes:
        experiment: The experiment.
        store: The store that holds it.
        trained: How many runs had steps left to train.
        complete: Whether it reached its end; False where it was interrupted.
        entry: The logbook entry's HTML page.
    """

    experiment: Experiment
    store: Store
    trained: int
    complete: bool
    entry: Path

    @cached_property
    def runs(self) -> list[RunRecord]:
        """The experiment's runs, variant by variant."""
        return self.store.runs(self.experiment.name)

    @cached_property
    def summary(self) -> list[VariantSummary]:
        """Each variant's last values, with their spread over seeds."""
        return summarise(self.store, self.experiment.name)

    def metrics(self, columns: list[str] | None = None) -> pl.DataFrame:
        """A row for each run and step."""
        return experiment_metrics(self.store, self.experiment.name, columns or [])

    def __str__(self) -> str:
        header, rows = table(self.summary)
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *rows]
        ]
        return "\n".join([str(self.experiment), *lines, f"entry: {self.entry}"])

    def _repr_html_(self) -> str:
        return f"<pre>{self}</pre>"


def run(
    asked: Experiment | str | Path | dict[str, Any],
    *overrides: str,
    store: str | Path = "lab",
    engine: Engine = "auto",
    device: DeviceName = "auto",
    workers: int | None = None,
    retry: bool = False,
    quiet: bool = False,
) -> Result:
    """Trains what is missing of an experiment, keeps it and writes its entry.

    Args:
        asked: An experiment, or what :func:`ablab.experiments.experiment.experiment` takes.
        overrides: Overrides in Hydra's grammar, where ``asked`` is not yet an experiment.
        store: The store's folder; it is made where it is missing.
        engine: ``solo``, ``stack``, or ``auto`` to let the plan choose.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto``.
        workers: Processes; None lets the plan choose.
        retry: Whether runs that failed or diverged are tried again.
        quiet: Whether to show no progress.

    Raises:
        InputError: The experiment, an option or the store cannot be used.
    """
    if not isinstance(asked, Experiment):
        asked = experiment(asked, *overrides)
    command = f"ablab.run({shlex.quote(asked.name)})"
    options = Options(engine, device, workers, retry)
    return carry_out(asked, store, options, command, make_reporter(quiet), lambda: False)


def carry_out(
    asked: Experiment,
    store: str | Path,
    options: Options,
    command: str,
    reporter: Reporter,
    should_pause: Callable[[], bool],
) -> Result:
    """:func:`run` with everything given, as the command line needs it."""
    opened = Store(store, create=True)
    conducted = conduct(asked, opened, options, command, reporter, should_pause)
    entry = write_entry(opened, asked.name)
    return Result(asked, opened, conducted.trained, conducted.complete, entry.page)


def open(store: str | Path = "lab") -> OpenStore:
    """Opens a store for reading.

    Raises:
        StoreError: There is no store there, or it is damaged.
    """
    return OpenStore(Store(store))
