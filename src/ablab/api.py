"""The Python API: run an experiment, open a store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ablab.analysis.analyze import AnalysisSubject, analyze_trained, store_of
from ablab.analysis.analyze import analyze as analyze_subject
from ablab.analysis.request import Request, requests_of
from ablab.config import Config, InputError
from ablab.config.progress import doing
from ablab.config.shown import Displayed, Shown
from ablab.config.table import output_width, table_lines
from ablab.execute.notebook_status import notebook_status
from ablab.execute.options import Compiling, DeviceName, Engine, Options
from ablab.execute.orchestrate import TrainedExperiment
from ablab.execute.pause import pausing_on_interrupt
from ablab.execute.planned import PlannedExperiment, plan_experiment
from ablab.execute.progress import Reporter
from ablab.execute.status import Status, status
from ablab.execute.tune import train_experiment
from ablab.experiments.experiment import Experiment, experiment
from ablab.logbook.answer import Answer
from ablab.logbook.conclusions import experiment_answer
from ablab.logbook.drawn_findings import DrawnFindings
from ablab.logbook.entry import write_entry
from ablab.notebook.curves import X, plot_experiment
from ablab.notebook.effects import with_figures
from ablab.notebook.listings import Runs, status_words
from ablab.notebook.plot import Plot
from ablab.notebook.run import DrawnRun
from ablab.notebook.variants import VariantTable
from ablab.open_store import OpenStore
from ablab.read.halving_report import HalvingReport, halving_report
from ablab.read.measures import ENDED
from ablab.read.rounds import READERS
from ablab.read.settling import Progress, questions_of
from ablab.read.summary import VariantSummary, summarise, table
from ablab.read.tuning import tuning_report
from ablab.read.tuning_report import TuningReport
from ablab.store.index import StoreError
from ablab.store.known_runs import as_stored
from ablab.store.metrics import experiment_metrics, experiment_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.base import Task

_FEW = 6  # variants; the figure of more is folded


@dataclass(frozen=True, repr=False)
class Result(Displayed):
    """The result of running an experiment.

    Attributes:
        experiment: The experiment.
        store: The store that contains it.
        record: The experiment's record in the store.
        trained: The number of runs that had steps left to train.
        complete: Whether all runs ended and were analyzed; False after an interrupt.
        entry: The HTML page of the logbook entry.
    """

    experiment: Experiment
    store: Store
    record: ExperimentRecord
    trained: int
    complete: bool
    entry: Path

    @classmethod
    def of(cls, trained: TrainedExperiment) -> "Result":
        """Writes the entry of a trained experiment."""
        asked = as_stored(trained.experiment, trained.store)
        record = trained.store.refresh(trained.record)
        entry = write_entry(trained.store, record)
        return cls(asked, trained.store, record, trained.trained, trained.complete, entry.page)

    @cached_property
    def runs(self) -> Runs:
        """The experiment's runs, grouped by variant."""
        return Runs(experiment_runs(self.store, self.record))

    def run(self, run: str | RunRecord) -> DrawnRun:
        """A run, with its curves, its model and its attention: ``result.run(result.runs[0])``.

        Args:
            run: Its record, its id, or a unique prefix of that.

        Raises:
            StoreError: No run or several runs match.
        """
        return OpenStore(self.store).run(run)

    @cached_property
    def summary(self) -> list[VariantSummary]:
        """The final values of each variant, with their spread over seeds."""
        return summarise(self.store, self.record)

    @cached_property
    def settled(self) -> Progress | None:
        """What became of the questions of an experiment that adds seeds; None for fixed seeds."""
        if self.experiment.settling is None:
            return None
        return questions_of(self.store, self.record)

    @cached_property
    def halving(self) -> HalvingReport | None:
        """What successive halving decided and saved; None for an experiment without it."""
        return halving_report(self.store, self.record)

    @cached_property
    def answer(self) -> Answer:
        """The answer to the experiment's question, as on its page."""
        return experiment_answer(self.store, self.record, self.runs)

    @cached_property
    def tuning(self) -> TuningReport | None:
        """What tuning found for each variant; None if the experiment is not tuned."""
        return tuning_report(self.store, self.record)

    def table(self) -> VariantTable:
        """The final results of each variant, a dot for each run; ``.frame`` has the numbers."""
        return VariantTable.of(self.store, self.record, self.runs, self.summary, self.answer)

    def plot(self, column: str = "train_loss", x: X = "step") -> Plot:
        """A column of every run: thin for each seed, thick for the median of each variant.

        Args:
            column: The column, as :meth:`metrics` names it.
            x: What it is drawn against: ``step``, ``tokens``, ``seconds`` (a run's own share of the
                training time) or ``flops`` (estimated).

        Raises:
            InputError: No run has logged the column, or ``x`` is not known.
        """
        return plot_experiment(self.store, self.record, column, x)

    def shown(self) -> Shown:
        """The answer, then the results of each variant."""
        table = self.table().shown()
        said = list(self.answer.sentences[:2])
        if not self.complete:
            said.insert(0, f"{_interrupted(self.runs)}; run it again to go on")
        return Shown(
            self.experiment.heading,
            [*said, f"entry: {self.entry}"],
            table.header,
            table.rows,
            "result.table()",
        )

    def drawn(self) -> Shown:
        """The same with the losses of all runs."""
        about = self.shown()
        try:
            drawn = [("training loss", self.plot().markup)]
        except StoreError:  # the display tells of damage
            raise
        except InputError:  # nothing was trained yet
            drawn = []
        return with_figures(about, drawn, len(about.rows) <= _FEW)

    def metrics(self, columns: list[str] | None = None) -> pl.DataFrame:
        """One row per run and step."""
        return experiment_metrics(self.store, self.record, columns or [])

    def __str__(self) -> str:
        header, rows = table(self.summary)
        keys = header[: header.index("parameters")]
        found = table_lines(header, rows, output_width(), texts=[*keys, "runs"], groups=keys)
        lines = [line.text for line in found]
        return "\n".join([str(self.experiment), *lines, f"entry: {self.entry}"])


def run(
    asked: Experiment | str | Path | dict[str, Any],
    *overrides: str,
    store: str | Path = "lab",
    engine: Engine = "auto",
    device: DeviceName = "auto",
    workers: int | None = None,
    retry: bool = False,
    compile: Compiling = "auto",
    executor: str = "auto",
    address: str | None = None,
    break_leases: bool = False,
    where: str | Sequence[str] = (),
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Trains the missing runs of an experiment, stores them and writes its entry.

    An interrupt (Ctrl-C, or a notebook's stop button) saves what is trained and returns a result
    that is not ``complete``; the same call goes on from there. A second one ends immediately.

    Args:
        asked: An experiment, or a source that :func:`ablab.experiments.experiment.experiment`
            accepts.
        overrides: Overrides in Hydra's grammar, if ``asked`` is not yet an experiment.
        store: The folder of the store; it is created if it does not exist.
        engine: ``solo``, ``stack``, or ``auto`` to let the plan choose.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto``.
        workers: The number of processes; None lets the plan choose.
        retry: Whether to retry runs that failed or diverged.
        compile: Whether to compile steps: ``auto`` (if it pays), ``on`` or ``off``.
        executor: Where to train: ``in_process``, ``worker_processes``, ``ray`` (a cluster), the
            import path of your own executor, or ``auto``.
        address: The address of the Ray cluster; None takes that of this machine.
        break_leases: Whether to take the runs that other processes have leased.
        where: A cell of the grid or several, such as ``model.n_heads=1``: only runs in any of them
            are trained now.
        quiet: Whether to hide progress.
        settings: Top-level settings by name (``seeds=3``), as for an experiment.

    Raises:
        InputError: The experiment, an option or the store is invalid.
    """
    source = asked.name if isinstance(asked, Experiment) else asked
    with status(quiet, notebook_status) as shown, pausing_on_interrupt() as paused:
        asked = _read(asked, overrides, settings)
        named = [
            _shown_source(source) if isinstance(source, str | Path) else f"{{… {asked.name} …}}"
        ]
        named += [repr(override) for override in overrides]
        named += [f"{key}={value!r}" for key, value in settings.items()]
        command = f"ablab.run({', '.join(named)})"
        cells = (where,) if isinstance(where, str) else tuple(where)
        options = Options(
            engine, device, workers, retry, compile, executor, break_leases, address, where=cells
        )
        requests = requests_of(asked.definition)  # an unknown analysis is said before training
        trained = train_experiment(asked, store, options, command, Reporter(shown), paused, READERS)
        trained, _ = with_analyses(trained, requests, shown, paused)
        with doing("writing the entry"):
            result = Result.of(trained)
        if not trained.complete:
            shown.warn(f"{_interrupted(result.runs)}. {_advice(result.runs)}")
        return result


def with_analyses(
    trained: TrainedExperiment,
    requests: Sequence[Request],
    shown: Status,
    paused: Callable[[], bool],
) -> tuple[TrainedExperiment, bool]:
    """Makes the analyses that follow training, if it is complete.

    Returns:
        The experiment, which is not complete if they were interrupted; and whether none failed.
    """
    if not trained.complete:
        return trained, True
    analyzed = analyze_trained(trained.store, trained.record, requests, shown, paused)
    interrupted = not analyzed and paused()
    return replace(trained, complete=not interrupted), analyzed


def _interrupted(runs: Runs) -> str:
    """What an interrupt came during, with the runs' statuses."""
    analyzing = all(run.status in ENDED for run in runs)
    return f"interrupted{' during the analyses' if analyzing else ''}: {status_words(runs)}"


def _advice(runs: Runs) -> str:
    """What is kept after an interrupt, and how to go on."""
    if all(run.status in ENDED for run in runs):
        return "What is analyzed is kept; the same call goes on from there."
    if any(run.step for run in runs):
        return "What is trained is kept; the same call goes on from there."
    return "Nothing is trained yet; the same call trains it."


def _shown_source(source: str | Path) -> str:
    """A source as an entry quotes it: a file without the folders that lead to the working folder.

    An entry is sent to others, whom the folders of this machine do not concern.
    """
    path = Path(source)
    if path.is_absolute():
        here = Path.cwd()
        path = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
    return repr(str(path))


def plan(
    asked: Experiment | str | Path | dict[str, Any],
    *overrides: str,
    store: str | Path = "lab",
    engine: Engine = "auto",
    device: DeviceName = "auto",
    workers: int | None = None,
    retry: bool = False,
    compile: Compiling = "auto",
    quiet: bool = False,
    **settings: Any,
) -> PlannedExperiment:
    """Plans an experiment: the stacks, the engine and why, the estimated time; trains nothing.

    Args:
        asked: An experiment, or a source that :func:`ablab.experiments.experiment.experiment`
            accepts.
        overrides: Overrides in Hydra's grammar, if ``asked`` is not yet an experiment.
        store: The folder of the store, which need not exist.
        engine: ``solo``, ``stack``, or ``auto``; see :func:`run`.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto``.
        workers: The number of processes; None lets the plan choose.
        retry: Whether runs that failed or diverged count as left to train.
        compile: ``auto``, ``on`` or ``off``.
        quiet: Whether to hide progress.
        settings: Top-level settings by name (``seeds=3``), as for an experiment.

    Raises:
        InputError: The experiment or an option is invalid.
    """
    with status(quiet, notebook_status):
        asked = _read(asked, overrides, settings)
        with doing("planning"):
            options = Options(engine, device, workers, retry, compile, "auto", False)
            return plan_experiment(asked, store, options)


def _read(
    asked: Experiment | str | Path | dict[str, Any],
    overrides: Sequence[str],
    settings: dict[str, Any],
) -> Experiment:
    """The experiment, read from its source if it is not one yet."""
    if not isinstance(asked, Experiment):
        with doing("reading the experiment"):
            return experiment(asked, *overrides, **settings)
    if overrides or settings:
        raise InputError(
            "overrides cannot change an existing experiment: pass them to ablab.experiment(…)"
        )
    return asked


def analyze(
    subject: AnalysisSubject,
    analysis: str,
    *,
    settings: Config | Mapping[str, Any] | None = None,
    steps: str | Sequence[int] = "all",
    where: str | None = None,
    task: Task | None = None,
    store: str | Store = "lab",
    samples: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> DrawnFindings:
    """Runs an analysis on stored runs at their snapshots, or on a model; the findings can be drawn.

    The untrained model (step 0) is always included, as the control for later steps. What is found
    in stored runs is kept in their store, and not computed again.

    Args:
        subject: The name of an experiment or the id of a run, what :func:`run` returns, a stored
            run, several, or any ``torch.nn.Module``.
        analysis: The name of an analysis (``ablab analyses`` lists them) or an import path
            (``mypkg.mymod:thing``), either followed by ``:key=value,…`` for settings.
        settings: The analysis's settings.
        steps: Which snapshots of stored runs: ``all``, ``last``, a range ``A:B`` that includes both
            ends, or step numbers.
        where: Only the runs of this cell of an experiment: ``key=value, …``.
        task: The task of a ``torch.nn.Module``, for analyses that need it.
        store: The folder of the store, for names and ids.
        samples: The largest number of samples to look at; by default the task's whole table where
            that is small, else a sample.
        seed: The seed of that sample.
        quiet: Whether to hide progress.

    Raises:
        InputError: There is no such analysis, experiment or run, its settings are invalid, a step
            has no snapshot, or it needs a task and none is given.
        StoreError: A snapshot is missing or damaged.
    """
    with status(quiet, notebook_status):
        found = analyze_subject(
            subject, analysis, settings=settings, steps=steps, where=where, task=task, store=store,
            samples=samples, seed=seed,
        )  # fmt: skip
    return DrawnFindings.of(found, store_of(subject, store))


def open(store: str | Path = "lab") -> OpenStore:
    """Opens a store for reading.

    Raises:
        StoreError: There is no store at this path, or it is damaged.
    """
    return OpenStore(Store(store))
