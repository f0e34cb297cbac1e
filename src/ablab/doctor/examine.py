"""The examination: runs the checks on every distinct shape of an experiment's variants."""

import inspect
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ablab.config.progress import doing
from ablab.doctor.check import (
    ALL,
    Check,
    Finding,
    NotApplicable,
    all_checks,
    chosen_checks,
    not_findings,
)
from ablab.doctor.checks.forward import NAME as FORWARD
from ablab.doctor.composite import without_fused_layers
from ablab.doctor.meant import mark_meant, read_meant
from ablab.doctor.patient import Patient
from ablab.doctor.report import Outcome, Report
from ablab.doctor.subject import as_experiment
from ablab.execute.guest import as_guest
from ablab.experiments import Experiment


@as_guest()
@without_fused_layers()
def doctor(
    subject: Experiment | str | Path | Mapping[str, Any],
    *overrides: str,
    checks: Sequence[str] | None = None,
    meant: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda message: None,
    **settings: Any,
) -> Report:
    """Checks that a model and a task are what they claim to be.

    Everything runs on the CPU, on small batches; nothing is stored.

    Args:
        subject: An experiment, a recipe's name, a YAML file, a mapping, or an import path
            ``module:Class`` of a model's or a task's class.
        overrides: Overrides in Hydra's grammar (``"model.d_model=8"``).
        checks: The names of the checks to run (``["causality", "samples"]``), import paths of your
            own (``"mymod:my_check"``), and ``"all"`` for those of ablab; None runs these. With
            names, ``methods`` compiles every shape; else the first one of each kind of model.
        meant: Findings that are meant, by check, with the reason: ``{"causality": "bidirectional on
            purpose"}``. A key ``CHECK:KEY=VALUE,KEY=VALUE`` is about some cells of the grid only.
            They are added to the experiment's own (``meant:``).
        tell: Called with a progress message before each examination.
        settings: Top-level settings by name.

    Returns:
        The outcome of each check. Variants of equal shape are examined once.

    Raises:
        InputError: The subject, an override, the name of a check or an entry of ``meant`` is
            invalid.
    """
    named = [checks] if isinstance(checks, str) else checks
    wanted = all_checks() if named is None else chosen_checks(named)
    asked = as_experiment(subject, *overrides, **settings).resolve()
    expected = read_meant(asked.meant | dict(meant or {}), [axis.key for axis in asked.axes])
    shapes: dict[str, list[str]] = {}
    tasks: dict[str, list[str]] = {}
    patients: dict[str, Patient] = {}
    kinds: set[str] = set()
    for variant in asked.variants:
        run = variant.runs[0]
        shapes.setdefault(run.stack_key, []).append(variant.label)
        tasks.setdefault(run.task.model_dump_json(), []).append(variant.label)
        if run.stack_key not in patients:
            # Compiling takes seconds; the other shapes of a kind are traced, unless asked for.
            asked_for = named is not None and ALL not in named
            compiles = asked_for or run.model.kind not in kinds
            patients[run.stack_key] = Patient(run, compiles)
            kinds.add(run.model.kind)
    seen_tasks: set[str] = set()
    outcomes: list[Outcome] = []
    for key, patient in patients.items():
        tell(f"examining {shapes[key][0]}")
        task = patient.run.task.model_dump_json()
        if task not in seen_tasks:
            seen_tasks.add(task)
            outcomes += _examine(
                patient, [each for each in wanted if each.part == "task"], tasks[task]
            )
        outcomes += _examine(
            patient, [each for each in wanted if each.part == "model"], shapes[key]
        )
    title = str(subject) if isinstance(subject, str | Path) else asked.name
    cells = {variant.label: variant.keys for variant in asked.variants}
    outcomes, not_found = mark_meant(outcomes, expected, cells)
    return Report(title, tuple(outcomes), tuple(not_found))


def _examine(patient: Patient, checks: list[Check], variants: list[str]) -> list[Outcome]:
    """The outcomes of some checks; if the model does not run, the other checks are skipped."""
    outcomes: list[Outcome] = []
    for each in sorted(checks, key=lambda each: each.name != FORWARD):
        first = next((before for before in outcomes if before.check == FORWARD), None)
        if first is not None and (first.findings or first.reason):
            what = "does not run" if first.findings else "is not examined"
            reason = f"the model {what}; see {FORWARD}"
            outcomes.append(Outcome(each.name, each.claim, tuple(variants), (), reason))
        else:
            outcomes.append(_outcome(patient, each, tuple(variants)))
    return outcomes


def _outcome(patient: Patient, check: Check, variants: tuple[str, ...]) -> Outcome:
    try:
        # A model may draw from torch's global generator; seeding makes the report reproducible.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            torch.manual_seed(0)
            warnings.simplefilter(
                "ignore"
            )  # torch warns about slow paths, which do not matter here
            with doing(f"examining: {check.name}"):
                found = check.examine(patient)
    except NotApplicable as reason:
        return Outcome(check.name, check.claim, variants, (), str(reason))
    except Exception as error:  # the user's model or task may raise anything
        found = [_raised(check, error)]
        return Outcome(check.name, check.claim, variants, tuple(found), raised=True)
    wrong = not_findings(found)
    if wrong:
        return Outcome(check.name, check.claim, variants, (_no_list(wrong),), raised=True)
    return Outcome(check.name, check.claim, variants, tuple(found), notes=patient.notes(check.name))


def _no_list(returned: str) -> Finding:
    """What a check returned instead of a list of findings, as a finding."""
    return Finding(
        "the check failed: it returns no list of findings",
        f"it returns {returned}",
        "A check returns [] if there is no problem, or [Finding(message, evidence, cause)].",
        "certain",
    )


def _file_of(check: Check) -> str | None:
    """The file of a check's function; None if it is another object that can be called."""
    try:
        return inspect.getsourcefile(inspect.unwrap(check.examine))
    except TypeError:
        return None


def _raised(check: Check, error: Exception) -> Finding:
    """An error as a finding, with the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    file = _file_of(check)
    own = [each for each in frames if each.filename == file]
    last = own[-1] if ":" in check.name and own else frames[-1]
    who = "The check, the model" if ":" in check.name else "The model"
    return Finding(
        f"the check failed with {type(error).__name__}",
        f"{error} ({Path(last.filename).name}, line {last.lineno}, in {last.name})",
        f"{who} or the task raises this error. The check tests that {check.claim}.",
    )
