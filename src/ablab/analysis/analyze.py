"""Runs an analysis on stored runs at their snapshots, or on a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from ablab.analysis.chosen import Chosen, choose, stored_runs
from ablab.analysis.compute import Computation, Tell
from ablab.analysis.examine import Failure, examine, examine_unit, subject_of, told
from ablab.analysis.finding import DOES_NOT_APPLY, Finding, Findings, ModelFinding, joined
from ablab.analysis.request import Request, make_request, parse_request
from ablab.analysis.subject import DoesNotApplyError, Probing
from ablab.analysis.units import make_units
from ablab.config import Config, InputError, Problem, counted, doing
from ablab.config.errors import NOT_GIVEN
from ablab.execute.guest import as_guest
from ablab.execute.status import Status, duration
from ablab.store.findings import StoredFinding, read_finding, record_analyses
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store
from ablab.store.stored_run import StoredRun
from ablab.tasks.base import Task


class OfExperiment(Protocol):
    """What ``ablab.run`` returns: an experiment's record and its store."""

    record: ExperimentRecord
    store: Store


AnalysisSubject = str | StoredRun | Sequence[StoredRun] | OfExperiment | nn.Module


@as_guest()
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
) -> Findings:
    """What an analysis finds, without progress and figures.

    Arguments and errors are those of :func:`ablab.analyze`, which shows both.
    """
    probing = Probing(samples, seed)
    request = (
        parse_request(analysis, probing)
        if settings is None
        else make_request(analysis, settings, probing)
    )
    if isinstance(subject, nn.Module):
        _refuse(steps != "all", "a module", "steps", steps, "a stored run")
        _refuse(where is not None, "a module", "where", where, "an experiment")
        return _joined(request, [_of_model(request, subject, task)])
    _refuse(task is not None, "a stored run", "task", type(task).__name__, "a torch.nn.Module")
    runs = _runs(subject, store, where)
    chosen = choose(runs, steps)
    found, failures = _of_runs(request, chosen)
    if failures and not found:
        raise InputError(Problem(str(failures[0]), given=failures[0].where or NOT_GIVEN))
    notes = [*chosen.notes, *told(failures)]
    return _joined(request, found, notes)


def load(
    store: Store, chosen: Chosen, request: Request, failures: Sequence[Failure] = ()
) -> Findings:
    """The findings that a store has of some runs and steps.

    Args:
        store: The store.
        chosen: The runs and steps.
        request: The analysis.
        failures: The models that it failed on, and others', are left out, with a note.

    Raises:
        StoreError: One is missing or damaged.
    """
    failed = {(each.run, each.step) for each in failures if each.name == request.name}
    notes = list(chosen.notes)
    if failed:
        notes.append(f"{request.name} failed on {len(failed)} of {counted(chosen.models, 'model')}")
    return _joined(request, _load(store, chosen, request, failed), notes)


def analyze_trained(
    store: Store,
    record: ExperimentRecord,
    requests: Sequence[Request],
    status: Status,
    should_pause: Callable[[], bool] = lambda: False,
) -> bool:
    """Makes the analyses that follow the training of an experiment.

    Args:
        store: The store.
        record: The experiment.
        requests: The analyses.
        status: Shows the progress, and what was left out or failed.
        should_pause: Whether to stop soon.

    Returns:
        Whether none failed and all are done.

    Raises:
        StoreError: The store cannot be written, or a snapshot is missing or damaged.
    """
    runs = [each for each in stored_runs(store, record) if each.snapshots]
    if not runs or not requests:
        return True
    chosen = choose(runs, "all")
    for note in chosen.notes:
        status.warn(note)
    return _analyze_trained(store, chosen, requests, status, should_pause)


def _analyze_trained(
    store: Store,
    chosen: Chosen,
    requests: Sequence[Request],
    status: Status,
    should_pause: Callable[[], bool],
) -> bool:
    """Computes all analyses together, or each alone if one of them does not fit the models.

    What is wrong with one must not cost the others, nor the entry of runs that are trained.
    """
    tell = shown_on(status, chosen)
    try:
        with doing("analyzing"):
            done = compute(store, chosen, requests, tell, should_pause=should_pause)
    except InputError as error:
        if len(requests) == 1:
            status.warn(f"{requests[0].name} cannot be computed: {error}")
            return False
        alone = [_analyze_trained(store, chosen, [each], status, should_pause) for each in requests]
        return all(alone)
    for text in told(done.failures):
        status.warn(text)
    return done.complete and not done.failures


def shown_on(status: Status, chosen: Chosen) -> Tell:
    """Shows the progress of analyses on a status."""

    def tell(found: int, every: int, left: float | None) -> None:
        rest = "" if left is None else f", about {duration(left)} left"
        status.show(f"analyzing {chosen.models} models: {found:,} of {every:,} findings{rest}")

    return tell


def compute(
    store: Store,
    chosen: Chosen,
    requests: Sequence[Request],
    tell: Tell,
    workers: int | None = None,
    **options: Any,
) -> Computation:
    """Computes the findings that a store lacks; see :class:`Computation` for the arguments."""
    computation = Computation(store, chosen, requests, tell, workers, **options)
    _record(store, requests)
    with as_guest():
        computation.run()
    return computation


def _record(store: Store, requests: Sequence[Request]) -> None:
    """Records what reading needs of analyses, even if all their findings are there already."""
    if store.index.writable:
        record_analyses(store, {each.name: each.about for each in requests})


def _of_model(request: Request, model: nn.Module, task: Task | None) -> ModelFinding:
    try:
        finding = examine(request, subject_of(model, task, request.probing))
    except DoesNotApplyError as error:
        return ModelFinding(None, None, None, {}, _does_not_apply(request, str(error)))
    return ModelFinding(finding, None, None, {})


def _of_runs(request: Request, chosen: Chosen) -> tuple[list[ModelFinding], list[Failure]]:
    """The findings of stored runs: from their store, or computed here if it cannot be written."""
    store = chosen.runs[0].store
    try:
        computation = Computation(store, chosen, [request], workers=1)
        _record(store, [request])
        computation.run()
    except StoreError:
        if store.index.writable:
            raise
        return _computed(request, chosen)
    failed = {(each.run, each.step) for each in computation.failures}
    return _load(store, chosen, request, failed), computation.failures


def _computed(request: Request, chosen: Chosen) -> tuple[list[ModelFinding], list[Failure]]:
    """The findings of stored runs, computed and not kept."""
    found: dict[tuple[str, int], StoredFinding] = {}
    failures = []
    for unit in make_units(chosen.runs, chosen.steps, 1):
        for each in examine_unit(unit, [request], lambda run, step, own: True):
            if isinstance(each, Failure):
                failures.append(each)
            else:
                found[each.run, each.step] = each
    return [
        _model_finding(request, run, found[run.id, step])
        for run, steps in zip(chosen.runs, chosen.steps, strict=True)
        for step in steps
        if (run.id, step) in found
    ], failures


def _load(
    store: Store,
    chosen: Chosen,
    request: Request,
    without: set[tuple[str, int]] | frozenset[tuple[str, int]] = frozenset(),
) -> list[ModelFinding]:
    return [
        _model_finding(request, run, read_finding(store, run.id, step, request.name))
        for run, steps in zip(chosen.runs, chosen.steps, strict=True)
        for step in steps
        if (run.id, step) not in without
    ]


def _model_finding(request: Request, run: StoredRun, found: StoredFinding) -> ModelFinding:
    keys = {"seed": run.record.seed, **run.record.variant}
    reason = found.about.get(DOES_NOT_APPLY)
    if reason is not None:
        return ModelFinding(None, run.id, found.step, keys, _does_not_apply(request, reason))
    finding = Finding(found.scalars, found.tables, found.arrays)
    return ModelFinding(finding, run.id, found.step, keys)


def _joined(request: Request, found: Sequence[ModelFinding], notes: Sequence[str] = ()) -> Findings:
    analysis = request.analysis
    return joined(analysis.name, analysis.question, request.settings, found, notes)


def _does_not_apply(request: Request, reason: str) -> str:
    return f"{request.analysis.name} does not apply: {reason}"


def store_of(subject: AnalysisSubject, store: str | Store) -> Store | None:
    """The store in which a subject is; None for a model from elsewhere."""
    if isinstance(subject, nn.Module):
        return None
    if isinstance(subject, str):
        return store if isinstance(store, Store) else Store(store)
    runs = subject if isinstance(subject, list | tuple) else [subject]
    return getattr(runs[0], "store", None)


def _refuse(is_given: bool, given_with: str, option: str, value: Any, expected: str) -> None:
    """Raises an error if an option is given that another subject needs."""
    if is_given:
        raise InputError(
            Problem(f"{option} says nothing of {given_with}", option, given=value,
                    expected=f"{expected} to analyze, or no {option}")
        )  # fmt: skip


def _runs(subject: Any, store: str | Store, where: str | None) -> list[StoredRun]:
    if isinstance(subject, str):
        opened = store if isinstance(store, Store) else Store(store)
        return stored_runs(opened, subject, where)
    if isinstance(getattr(subject, "record", None), ExperimentRecord):
        return stored_runs(subject.store, subject.record, where)
    runs = subject if isinstance(subject, list | tuple) else [subject]
    if not runs or not all(isinstance(each, StoredRun) for each in runs):
        raise InputError(
            Problem(
                "not something to analyze",
                given=type(subject).__name__,
                expected="the name of an experiment, a stored run (ablab.open(…).run(…)), several, "
                "or a torch.nn.Module",
            )
        )
    _refuse(where is not None, "stored runs", "where", where, "an experiment")
    if len({(each.id, each.record.step) for each in runs}) > len({each.id for each in runs}):
        raise InputError(
            Problem(
                "a run is there twice, as two experiments of different lengths have it",
                expected="runs of one of them at a time",
            )
        )
    if len({str(each.store.path.resolve()) for each in runs}) > 1:
        raise InputError(
            Problem("the runs are in several stores", expected="runs of one store at a time")
        )
    return list(runs)
