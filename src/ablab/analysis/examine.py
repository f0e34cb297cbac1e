"""Examines models: each analysis of each model of a unit, what fails or does not apply included."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import nn

from ablab.analysis.analysis import ReturnedError
from ablab.analysis.finding import DOES_NOT_APPLY, Finding
from ablab.analysis.loaded import LoadedModels
from ablab.analysis.request import Request
from ablab.analysis.subject import DoesNotApplyError, Probing, Subject, Together, evaluating
from ablab.analysis.units import Unit, last_step
from ablab.config import InputError, counted
from ablab.store.findings import LAST_STEP, StoredFinding
from ablab.store.stored_run import StoredRun
from ablab.tasks.base import Task


@dataclass(frozen=True)
class Failure:
    """An analysis that failed on a model.

    Attributes:
        run: The run's id.
        step: The step.
        name: The analysis, with its settings.
        error: The type of the error, and its text; or what a user's function returned.
        where: The traceback; empty if a user's function returned something else.
        left_out: Whether it was not computed, since the function had returned that for another
            model.
    """

    run: str
    step: int
    name: str
    error: str
    where: str
    left_out: bool = False

    def __str__(self) -> str:
        return f"{self.name} failed on run {self.run} at step {self.step}: {self.error}"


def told(failures: Sequence[Failure]) -> list[str]:
    """The failures as sentences: those that are equal as one, with the number of models."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for each in sorted(failures, key=lambda each: each.left_out):
        groups.setdefault((each.name, each.error), []).append(each)
    return [_told(group) for group in groups.values()]


def _told(equal: Sequence[Failure]) -> str:
    left_out = sum(each.left_out for each in equal)
    again = len(equal) - left_out - 1
    more = [f"the same for {counted(again, 'more model')}"] if again > 0 else []
    if left_out:
        more.append(f"{counted(left_out, 'more model')} left out after that")
    return "; ".join([str(equal[0]), *more])


@dataclass
class _Without:
    """Why analyses are not computed for the rest of a unit, by their names.

    Attributes:
        not_applicable: Why they do not apply.
        wrong: What a user's function returned.
    """

    not_applicable: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def examine(request: Request, subject: Subject) -> Finding:
    """What an analysis finds in a model.

    Raises:
        DoesNotApplyError: It does not apply to the model or its task.
        InputError: It needs a task that is not known, or settings do not fit the model.
        ReturnedError: A user's function returns something else.
    """
    if "task" in request.analysis.inputs:
        _ = subject.task  # raises if it is not known
    with evaluating(subject.model):
        return request.analysis.finding(subject, request.settings)


class LastSubject:
    """A run's model at its last kept step, loaded when it is first asked for.

    Args:
        run: The run.
        task: Its task; None if no analysis needs it.
        probing: Which samples are looked at.
        beside: The models that are analyzed, whose samples it shares.
    """

    def __init__(
        self, run: StoredRun, task: Task | None, probing: Probing, beside: Together
    ) -> None:
        self._run, self._task, self._probing, self._beside = run, task, probing, beside
        self._subject: Subject | None = None

    def __call__(self) -> Subject:
        """The model as a subject, the same one each time."""
        if self._subject is None:
            step = last_step(self._run)
            has_snapshot = step in self._run.snapshots  # step 0 may have none
            model = self._run.model(step) if has_snapshot else self._run.initial_model().eval()
            together = Together([model], self._task, self._probing, self._beside)
            self._subject = Subject(model, self._task, self._run.id, step, together)
        return self._subject


def subject_of(model: nn.Module, task: Task | None, probing: Probing) -> Subject:
    """A model from elsewhere as a subject."""
    return Subject(model, task, together=Together([model], task, probing))


def examine_unit(
    unit: Unit, requests: Sequence[Request], wanted: Callable[[str, int, Request], bool]
) -> Iterator[StoredFinding | Failure]:
    """Examines the models of a unit, one after the other.

    Args:
        unit: The models.
        requests: The analyses, of the same probing.
        wanted: Whether a finding of a run (its id) at a step is to be computed.

    Raises:
        StoreError: A snapshot is missing or damaged.
        InputError: The source of a user's component is not the one that trained the run.
    """
    first = unit.runs[0]
    with first.own_code():
        module, states = first.states(unit.steps[0])
        for run, steps in zip(unit.runs[1:], unit.steps[1:], strict=True):
            states += run.states(steps, module)[1]
        models = LoadedModels(module, states)
        needs_task = any("task" in request.analysis.inputs for request in requests)
        task = first.task() if needs_task else None
        together = Together(models, task, requests[0].probing)
        without = _Without()
        last: dict[str, LastSubject] = {}
        for place, (run, step) in enumerate(unit.places):
            at_last = last.setdefault(run.id, LastSubject(run, task, requests[0].probing, together))
            subject = Subject(models[place], task, run.id, step, together, place, at_last)
            for request in requests:
                if wanted(run.id, step, request):
                    yield _found(request, subject, run, step, without)
            if together.passes is not None:
                together.passes.forget(place)


def _found(
    request: Request,
    subject: Subject,
    run: StoredRun,
    step: int,
    without: _Without,
) -> StoredFinding | Failure:
    name, key = request.name, request.key_of(run)
    if name in without.wrong:
        return Failure(run.id, step, name, without.wrong[name], "", left_out=True)
    reason = without.not_applicable.get(name)
    if reason is None:
        try:
            found = examine(request, subject)
        except DoesNotApplyError as error:
            reason = str(error)
            if request.analysis.is_shipped:  # one of a user may refuse some models only
                without.not_applicable[name] = reason
        except ReturnedError as error:
            without.wrong[name] = f"it {error.what}"
            return Failure(run.id, step, name, without.wrong[name], "")
        except InputError:  # the same for all models: the settings do not fit
            raise
        except Exception as error:  # of a user's function, or of one model with odd weights
            text = f"{type(error).__name__}: {error}"
            return Failure(run.id, step, name, text, traceback.format_exc())
        else:
            looks = "last_model" in request.analysis.inputs
            about = {LAST_STEP: last_step(run)} if looks else {}
            return StoredFinding(
                run.id, step, name, key, found.scalars, found.tables, found.arrays, about
            )
    return StoredFinding(run.id, step, name, key, {}, about={DOES_NOT_APPLY: reason})
