"""Runs an analysis on stored runs at their snapshots, or on a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ablab.analysis.analysis import Analysis, find_analysis
from ablab.analysis.finding import Findings, ModelFinding, joined
from ablab.analysis.subject import Subject, evaluating
from ablab.config import Config, InputError, Problem
from ablab.execute.guest import as_guest
from ablab.experiments.parts import check_settings
from ablab.store.stored_run import StoredRun
from ablab.tasks.base import Task


@as_guest()
def analyze(
    subject: StoredRun | Sequence[StoredRun] | nn.Module,
    analysis: str,
    *,
    settings: Config | Mapping[str, Any] | None = None,
    steps: str | Sequence[int] = "all",
    task: Task | None = None,
) -> Findings:
    """Runs an analysis on stored runs at their snapshots, or on a model.

    The untrained model (step 0) is always included, as the control for later steps.

    Args:
        subject: A stored run, several, or any ``torch.nn.Module``.
        analysis: The name of an analysis (``ablab analyses`` lists them) or an import path
            (``mypkg.mymod:thing``).
        settings: The analysis's settings.
        steps: Which snapshots of stored runs: ``all``, ``last``, a range ``A:B`` that includes both
            ends, or step numbers.
        task: The task of a ``torch.nn.Module``, for analyses that need it.

    Raises:
        InputError: There is no such analysis, its settings are invalid, a step has no snapshot, or
            it needs a task and none is given.
    """
    found = find_analysis(analysis)
    chosen = settings or {}
    if not isinstance(chosen, found.settings):
        data = chosen.model_dump() if isinstance(chosen, Config) else chosen
        chosen = check_settings(found.settings, data, found.name)
    if isinstance(subject, nn.Module):
        findings = [_examine(found, chosen, Subject(subject, task), {})]
    else:
        findings = [
            _examine(found, chosen, _subject(found, run, step), _keys(run))
            for run in _runs(subject)
            for step in _steps(run, steps)
        ]
    return joined(found.name, found.question, chosen, findings)


def _runs(subject: StoredRun | Sequence[StoredRun]) -> list[StoredRun]:
    runs = subject if isinstance(subject, list | tuple) else [subject]
    if not runs or not all(isinstance(each, StoredRun) for each in runs):
        raise InputError(
            Problem(
                "not something to analyze",
                given=type(subject).__name__,
                expected="a stored run (ablab.open(…).run(…)), several, or a torch.nn.Module",
            )
        )
    return list(runs)


def _examine(
    found: Analysis, settings: Config, subject: Subject, keys: Mapping[str, Any]
) -> ModelFinding:
    if "task" in found.inputs:
        _ = subject.task  # raises if it is not known
    with evaluating(subject.model):
        finding = found.examine(subject, settings)
    return ModelFinding(finding, subject.run, subject.step, keys)


def _subject(found: Analysis, run: StoredRun, step: int) -> Subject:
    trained = step in run.snapshots
    model = run.model(step) if trained else run.initial_model()
    task = run.task() if "task" in found.inputs else None  # it might read a corpus
    return Subject(model, task, run.id, step)


def _keys(run: StoredRun) -> dict[str, Any]:
    return {"seed": run.record.seed, **run.record.variant}


def _steps(run: StoredRun, wanted: str | Sequence[int]) -> list[int]:
    """The chosen steps, starting with 0.

    Raises:
        InputError: A step has no snapshot, or no step is chosen.
    """
    snapshots = run.snapshots
    chosen: list[int]
    if wanted == "all":
        chosen = snapshots
    elif wanted == "last":
        chosen = snapshots[-1:]
    elif isinstance(wanted, str) and ":" in wanted:
        first, last = _numbers(wanted, ":")
        chosen = [step for step in snapshots if first <= step <= last]
    else:
        chosen = _numbers(wanted, ",") if isinstance(wanted, str) else list(wanted)
    missing = [step for step in chosen if step not in (0, *snapshots)]
    if missing or not chosen:
        raise InputError(
            Problem(
                f"run {run.id} has no snapshot of "
                + (f"step {missing[0]}" if missing else "any of these steps"),
                "steps",
                given=wanted,
                expected="all, last, or some of " + ", ".join(map(str, snapshots))
                if snapshots
                else "a run that has been trained",
            )
        )
    return sorted({0, *chosen})


def _numbers(text: str, between: str) -> list[int]:
    parts = text.split(between)
    if not all(part.strip().isdecimal() for part in parts) or (between == ":" and len(parts) != 2):
        raise InputError(
            Problem("steps: not a choice of steps", "steps", given=text,
                    expected="all, last, a range A:B, or numbers: 100,200")
        )  # fmt: skip
    return [int(part) for part in parts]
