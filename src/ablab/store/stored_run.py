"""A stored run in Python: its configuration, status, metrics and models."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl
from torch import Tensor, nn

from ablab.config import Problem, counted
from ablab.config.archived_modules import using_archived
from ablab.config.html import table
from ablab.config.shown import Displayed, Shown
from ablab.experiments.cell import run_of_cell
from ablab.experiments.tree import leaves
from ablab.model.base import Model
from ablab.store.artifacts import Artifact, list_artifacts, read_artifact, read_incident
from ablab.store.index import StoreError
from ablab.store.initial import initial_parameters
from ablab.store.metrics import run_metrics
from ablab.store.run_rows import cell_of_run, list_snapshots
from ablab.store.snapshots import read_parameters
from ablab.store.sources import Source, archived_packages
from ablab.store.store import RunRecord, Store
from ablab.tasks.base import Task
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run import Run
from ablab.train.stack import initial_model, make_task


@dataclass(frozen=True, repr=False)
class StoredRun(Displayed):
    """A run of a store.

    Attributes:
        store: The store that contains it.
        record: Its record, as listed by ``ablab runs``.
        source: The code of users' components in its model: ``stored``, that which trained the run,
            or ``current``, that which can be imported now.
    """

    store: Store
    record: RunRecord
    source: Source = "stored"

    def shown(self) -> Shown:
        """Its record, its snapshots and its settings."""
        about, steps = self.record.shown(), self.snapshots
        of = f"of {', '.join(self.record.experiments)}"
        if steps:
            snapshots = counted(len(steps), "snapshot")
            of += f"; {snapshots}, steps {steps[0]:,} to {steps[-1]:,}"
        said = [*about.sentences, of]
        settings = [(".".join(path), str(value)) for path, value in leaves(self.config)]
        folded = table(["setting", "value"], settings, "run.config")
        return replace(about, sentences=said, below=[("settings", folded)])

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

    @cached_property
    def run(self) -> Run:
        """Its configuration, in the form that training uses; imports users' components.

        Raises:
            InputError: A component's source is not the one that trained the run.
        """
        with self.own_code():
            return replace(run_of_cell(*cell_of_run(self.store, self.id)), id=self.id)

    @contextmanager
    def own_code(self) -> Iterator[None]:
        """Imports users' components as ``source`` says, from archived copies if need be.

        Raises:
            InputError: A component's source is not the one that trained the run.
        """
        with using_archived(archived_packages(self.store.path, self.id, self.config, self.source)):
            yield

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
            InputError: The source of a user's component is not the one that trained the run.
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
        return self._at(self._drawn(), steps[-1] if step is None else step)

    def states(
        self, steps: Sequence[int], alike: Model | None = None
    ) -> tuple[Model, list[dict[str, Tensor]]]:
        """The parameters and buffers after some steps, by name, and a model that can hold them.

        Step 0 is the initial model, which needs no snapshot.

        Args:
            steps: The steps.
            alike: A model of the same settings, which saves drawing one where that is possible.

        Raises:
            StoreError: There is no snapshot of a step.
            InputError: The source of a user's component is not the one that trained the run.
        """
        redrawn = {0} - set(self.snapshots)  # the initial model, where it has no snapshot
        if (
            alike is not None
            and not redrawn & set(steps)
            and not any(True for _ in alike.buffers())
        ):
            drawn, buffers = alike, {}
        else:
            drawn = self.initial_model() if redrawn & set(steps) else self._drawn()
            buffers = dict(drawn.named_buffers())
            if buffers and not redrawn >= set(steps):
                self._compare(drawn)
        names = {name for name, _ in drawn.named_parameters()}
        found = []
        for step in steps:
            if step in redrawn:
                own = {name: p.detach().clone() for name, p in drawn.named_parameters()}
            else:
                own = read_parameters(self.store, self.id, step)
                if set(own) != names:
                    raise StoreError(
                        Problem("the snapshot belongs to another model", given=self.id)
                    )
            found.append(own | {name: each.clone() for name, each in buffers.items()})
        return drawn.eval(), found

    def _at(self, model: Model, step: int) -> nn.Module:
        """A model of its shape with the parameters of a snapshot."""
        if any(True for _ in model.buffers()):  # not in a snapshot
            self._compare(model)
        parameters = read_parameters(self.store, self.id, step)
        if set(parameters) != {name for name, _ in model.named_parameters()}:
            raise StoreError(Problem("the snapshot belongs to another model", given=self.id))
        model.load_state_dict(parameters, strict=False)  # a tied parameter is stored once
        return model.eval()

    def initial_model(self) -> Model:
        """The model with parameters drawn anew, as they are before the first step.

        Warns if this version of torch draws others than those that the run was trained from.

        Raises:
            InputError: The source of a user's component is not the one that trained the run.
        """
        model = self._drawn()
        self._compare(model)
        return model

    def _drawn(self) -> Model:
        run = self.run
        with self.own_code():
            return initial_model(run)

    def _compare(self, model: Model) -> None:
        """Warns if a model that was drawn now is not the one that the run was trained from."""
        layout = ParameterLayout.of(model)
        known = initial_parameters(self.store, self.id, layout)
        if not known.are(layout.flatten(model), layout):
            warnings.warn(known.difference(self.id), stacklevel=3)

    def task(self) -> Task:
        """The task that the run was trained on.

        Raises:
            InputError: The source of a user's component is not the one that trained the run.
        """
        run = self.run
        with self.own_code():
            return make_task(run)
