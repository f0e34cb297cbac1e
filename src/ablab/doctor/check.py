"""The interface of a check: a function that takes a patient and returns findings.

A check is one file in ``ablab/doctor/checks`` with one decorated function. It is found by its file
name; there is no list of checks to edit. A user's check is a decorated function in any module, and
named by its import path.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ablab.config import InputError, Problem, Registry, nearest
from ablab.config.own_parts import check_arguments, part_error
from ablab.doctor.patient import Patient

_SHIPPED = "ablab.doctor.checks"
CHECKS = Registry("check", _SHIPPED)
ALL = "all"
_LINES = (
    "from ablab.doctor.check import Finding, check",
    "",
    '@check("my_check", part="model", claim="what is true if nothing is found")',
    "def my_check(patient):",
    "    return []  # or [Finding(message, evidence, cause)]",
)

Part = Literal["task", "model"]
Certainty = Literal["certain", "likely", "possible"]


@dataclass(frozen=True)
class Finding:
    """A problem that a check found.

    Attributes:
        message: What is wrong: a sentence without a full stop.
        evidence: What shows it: numbers, positions, names.
        cause: The usual cause and what to do about it, in sentences.
        certainty: How sure the cause is: ``certain`` (the cause itself was seen), ``likely`` (the
            usual one), ``possible`` (several causes fit).
    """

    message: str
    evidence: str
    cause: str
    certainty: Certainty = "likely"


class NotApplicable(Exception):  # noqa: N818 - nothing went wrong
    """The check does not apply; the message says why."""


Examine = Callable[[Patient], list[Finding]]


@dataclass(frozen=True)
class Check:
    """A registered check.

    Attributes:
        name: Its name.
        part: The part that it examines.
        claim: What is true if the check finds no problem.
        examine: Returns the findings; raises :class:`NotApplicable` if it does not apply.
    """

    name: str
    part: Part
    claim: str
    examine: Examine


def check(name: str, part: Part, claim: str) -> Callable[[Examine], Examine]:
    """A decorator that makes a check of a function of a :class:`ablab.doctor.patient.Patient`.

    Args:
        name: The check's name, which is also the name of its file. A user's check is named by its
            import path instead.
        part: ``task`` if the check depends on the task only; then each task is examined once.
        claim: What is true if the check finds no problem, in a few words.
    """
    if part not in get_args(Part):
        raise InputError(
            Problem(
                f"the check {name} is of no part",
                "part",
                given=part,
                expected=" or ".join(get_args(Part)),
            )
        )

    def decorate(function: Examine) -> Examine:
        made = Check(name, part, claim, function)
        function.check = made  # type: ignore[attr-defined]
        if function.__module__.startswith(_SHIPPED):
            CHECKS.register(name)(made)
        return function

    return decorate


def all_checks() -> list[Check]:
    """All checks: those of the task, then those of the model, each sorted by name."""
    return chosen_checks(CHECKS.names())


def chosen_checks(names: Iterable[str]) -> list[Check]:
    """The named checks, in the order of :func:`all_checks`.

    Args:
        names: Names, import paths of users' own checks, and ``all`` for those of ablab.

    Raises:
        InputError: A name is unknown, an import path is not that of a check, or ``names`` is empty.
    """
    known, wanted = CHECKS.names(), set(names)
    expected = "one of " + ", ".join([ALL, *known]) + ", or an import path module:name"
    if not wanted:
        raise InputError(Problem("checks: no check is named", "checks", expected=expected))
    if ALL in wanted:
        wanted = (wanted - {ALL}) | set(known)
    unknown = sorted(name for name in wanted - set(known) if ":" not in name)
    if unknown:
        raise InputError(
            Problem(
                f"checks: there is no check called {unknown[0]!r}",
                "checks",
                given=unknown[0],
                expected=expected,
                suggestion=nearest(unknown[0], known),
            )
        )
    found = [_find(name) for name in wanted]
    return sorted(found, key=lambda each: (each.part != "task", each.name))


def _find(name: str) -> Check:
    """The check with a name or an import path."""
    found: Any = CHECKS.find(name, "checks")
    if isinstance(found, Check):
        return found
    made = getattr(found, "check", None)
    if not isinstance(made, Check):
        raise part_error("checks", name, "is not a check", *_LINES)
    check_arguments(found, ["patient"], name, "checks", *_LINES)
    return replace(made, name=name)


def not_findings(found: Any) -> str:
    """What a check returned instead of a list of findings; empty if it is such a list."""
    if not isinstance(found, list):
        return "None" if found is None else f"an object of type {type(found).__name__}"
    others = [each for each in found if not isinstance(each, Finding)]
    return f"a list with an object of type {type(others[0]).__name__}" if others else ""
