"""A stored run in Python: its configuration, status, metrics and models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
from torch import Tensor, nn

from ablab.config import Problem
from ablab.experiments.experiment import experiment
from ablab.store.artifacts import Artifact, list_artifacts, read_artifact, read_incident
from ablab.store.index import StoreError
from ablab.store.metrics import run_metrics
from ablab.store.run_rows import list_snapshots, longest_experiment
from ablab.store.snapshots import read_parameters
from ablab.store.store import RunRecord, Store
from ablab.train.run import Run
from ablab.train.stack import initial_model


@dataclass(frozen=True)
class StoredRun:
    """A run of a store.

    Attributes:
        store: The store that contains it.
        record: Its record, as listed by ``ablab runs``.
    """

    store: Store
    record: RunRecord

    @cached_property
    def run(self) -> Run:
        """Its configuration, in the form that training uses.

        This imports the modules that its definition names and reads its corpus, so only what asks
        for a model uses it.

        Raises:
            InputError: A module or a corpus is missing.
        """
        number, position = longest_experiment(self.store, self.id)
        definition = next(each.definition for each in self.store.experiments() if each.id == number)
        asked = experiment(definition)
        place, seed = divmod(position, len(asked.seeds))
        return asked.variants[place].runs[seed]

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.run

    @property
    def status(self) -> str:
        """One of planned, running, interrupted, finished, stopped, diverged or failed."""
        return self.record.status

    @property
    def config(self) -> dict[str, Any]:
        """Everything that determines the run's trajectory, as plain data."""
        trajectory: dict[str, Any] = json.loads(self.store.run_row(self.id)["trajectory"])
        return trajectory

    @property
    def snapshots(self) -> list[int]:
        """The steps that have a snapshot."""
        return [snapshot.step for snapshot in list_snapshots(self.store, self.id)]

    def metrics(self, columns: Sequence[str] = ()) -> pl.DataFrame:
        """A row for each step: ``run``, ``step`` and the logged columns.

        Args:
            columns: Names or shell-style patterns of the columns to return; all by default.

        Raises:
            InputError: A pattern matches no column.
        """
        return run_metrics(self.store, self.id, columns)

    @property
    def segments(self) -> list[dict[str, Any]]:
        """How its steps were trained (engine, device, …), one item per segment of steps."""
        segments: list[dict[str, Any]] = json.loads(self.store.run_row(self.id)["segments"])
        return segments

    @property
    def captures(self) -> list[int]:
        """The steps after which tensors were captured."""
        return [each.step for each in list_artifacts(self.store, "capture", self.id)]

    def captured(self, step: int) -> dict[str, Tensor]:
        """The tensors captured after a step, by ``family/site-or-parameter``.

        Raises:
            StoreError: No tensors were captured after that step.
        """
        return read_artifact(self.store, "capture", self.id, step)

    @property
    def incidents(self) -> list[Artifact]:
        """The flight recorder's records, ordered by the step of the incident."""
        return list_artifacts(self.store, "flight", self.id)

    def incident(self, step: int) -> pl.DataFrame:
        """The statistics of the steps around an incident, one row per step.

        Raises:
            StoreError: No incident was recorded at that step.
        """
        return read_incident(self.store, self.id, step)

    # Aliases for scripts written for earlier versions.
    flights = incidents
    flight = incident

    def model(self, step: int | None = None) -> nn.Module:
        """The model with the parameters after a step, in evaluation mode.

        Args:
            step: The step; by default, that of the last snapshot.

        Raises:
            StoreError: There is no snapshot of that step.
        """
        steps = self.snapshots
        if not steps or (step is not None and step not in steps):
            near = min(steps, key=lambda each: abs(each - (step or 0)), default=None)
            raise StoreError(
                Problem(
                    f"run {self.id} has no snapshot" + ("" if step is None else f" of step {step}"),
                    given=step,
                    expected="one of " + ", ".join(map(str, steps)) if steps else "a trained run",
                    suggestion=None if near is None else str(near),
                )
            )
        model = initial_model(self.run)
        parameters = read_parameters(self.store, self.id, steps[-1] if step is None else step)
        if set(parameters) != {name for name, _ in model.named_parameters()}:
            raise StoreError(Problem("the snapshot belongs to another model", given=self.id))
        model.load_state_dict(parameters, strict=False)  # a tied parameter is stored once
        return model.eval()
