"""A store opened for reading."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ablab.config import InputError, counted
from ablab.config.shown import Displayed, Shown
from ablab.execute.device import find_device
from ablab.execute.options import DeviceName
from ablab.execute.replay import ReplayRequest, replay
from ablab.execute.replay_report import ReplayReport
from ablab.notebook.curves import X, plot_experiment
from ablab.notebook.effects import DrawnEffects, drawn_effects
from ablab.notebook.listings import Experiments, Readings, Runs, Verdicts, shown_store
from ablab.notebook.plot import Plot
from ablab.notebook.run import DrawnRun
from ablab.read.effects.stored import experiment_effects
from ablab.read.measures import measure_table
from ablab.read.readings import experiment_readings
from ablab.read.verdicts import verdicts
from ablab.store.metrics import experiment_metrics, experiment_runs
from ablab.store.sources import Source
from ablab.store.store import RunRecord, Store


@dataclass(frozen=True, repr=False)
class OpenStore(Displayed):
    """A store opened for reading.

    Attributes:
        store: The underlying store.
    """

    store: Store

    def shown(self) -> Shown:
        """A row for each experiment."""
        return shown_store(self.store, self.experiments)

    @property
    def experiments(self) -> Experiments:
        """All experiments, ordered by when they were last requested."""
        return Experiments(self.store.experiments())

    def runs(self, experiment: str | None = None) -> Runs:
        """All runs in the store, or the runs of an experiment up to its own number of steps."""
        if experiment is None:
            return Runs(self.store.runs())
        return Runs(experiment_runs(self.store, self.store.experiment(experiment)))

    def run(self, run: str | RunRecord, source: Source = "stored") -> DrawnRun:
        """The run with this id, or with this unique prefix of its id.

        Args:
            run: The id, or the record of the run, as in :meth:`runs`.
            source: Where a user's components of its model come from: ``stored``, the code that
                trained the run, or ``current``, the code that can be imported now.

        Raises:
            StoreError: No run or several runs match.
        """
        name = run.run if isinstance(run, RunRecord) else run
        found = self.store.run_row(name)["id"]
        record = self.store.run_records([found])[0]
        return DrawnRun(self.store, record, source)

    def metrics(self, experiment: str, columns: list[str] | None = None) -> pl.DataFrame:
        """One row per run and step; see :func:`ablab.store.metrics.experiment_metrics`."""
        return experiment_metrics(self.store, self.store.experiment(experiment), columns or [])

    def measure(self, experiment: str, text: str) -> pl.DataFrame:
        """A measure for every run; see :func:`ablab.read.measures.measure_table`."""
        return measure_table(self.store, self.store.experiment(experiment), text)

    def readings(self, experiment: str, column: str = "train_loss") -> Readings:
        """The features of each run's curve, by run; see :func:`ablab.read.curves.read_curve`."""
        record, runs = self.store.experiment(experiment), self.runs(experiment)
        return Readings(experiment_readings(self.store, record, runs, column), runs)

    def effects(
        self,
        experiment: str,
        of: str | None = None,
        measure: str | None = None,
        scale: Literal["auto", "difference", "ratio"] = "auto",
        margin: float | None = None,
    ) -> DrawnEffects:
        """Effects of the settings; see :func:`ablab.read.effects.stored.experiment_effects`."""
        record = self.store.experiment(experiment)
        found = experiment_effects(self.store, record, of, measure, scale, margin)
        return drawn_effects(found)

    def verdicts(self, experiment: str) -> Verdicts:
        """The verdicts on the experiment's expectations."""
        return Verdicts(verdicts(self.store, self.store.experiment(experiment)))

    def plot(self, experiment: str, column: str = "train_loss", x: X = "step") -> Plot:
        """A column of every run of an experiment; see :meth:`ablab.api.Result.plot`."""
        return plot_experiment(self.store, self.store.experiment(experiment), column, x)

    def replay(
        self,
        run: str,
        steps: tuple[int, int] | None = None,
        *,
        watch: Sequence[str] = (),
        every: int = 1,
        capture: Sequence[str] = (),
        capture_every: int | None = None,
        samples: int = 8,
        anyway: bool = False,
        break_leases: bool = False,
        device: DeviceName = "auto",
        source: Source = "stored",
        tell: Callable[[int, int], None] = lambda step, last: None,
    ) -> ReplayReport:
        """Retrains steps of a run in the same way and adds statistics to its metrics.

        Args:
            run: The id of the run, or a unique prefix of it.
            steps: The first and the last step; by default all steps.
            watch: Patterns of statistics, ``family/site-or-parameter/reducer``.
            every: The interval between statistics, in steps.
            capture: Patterns of tensors to capture, ``family/site-or-parameter`` or a site.
            capture_every: The interval between captures, in steps; None for about ten captures.
            samples: The number of samples in the probe batch of captures.
            anyway: Whether to add the results even if the losses differ from the stored ones, or
                these are lost.
            break_leases: Whether to take the run from another process that has leased it.
            device: ``cpu``, ``cuda``, ``mps``, or ``auto``: the device that the run was trained
                on, if it is available.
            source: Where a user's components come from; see :meth:`run`.
            tell: Called regularly with the current and the last step.

        Raises:
            InputError: The range or a pattern is invalid.
        """
        stored = self.run(run, source)
        first, last = steps or (1, self.store.run_row(stored.id)["step"])
        request = ReplayRequest(
            first,
            last,
            tuple(watch),
            every,
            tuple(capture),
            capture_every,
            samples,
            anyway,
            break_leases,
        )
        segments = stored.segments
        target = find_device(device)
        if device == "auto" and segments:
            with suppress(InputError):  # that device is not available
                target = find_device(segments[-1]["device"])
        own = stored.run
        with stored.own_code():
            return replay(self.store, own, segments, request, tell, target)

    def __str__(self) -> str:
        names = list(dict.fromkeys(record.name for record in self.experiments))
        runs = counted(len(self.runs()), "run")
        return f"{self.store.path}: {runs} of {', '.join(names) or 'no experiments yet'}"
