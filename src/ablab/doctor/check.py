"""The interface of a check: a function that takes a patient and returns findings.

A check is one file in ``ablab/doctor/checks`` with one decorated function. It is found by its file
name; there is no list of checks to edit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ablab.config import InputError, Problem, Registry, nearest
from ablab.doctor.patient import Patient

CHECKS = Registry("check", "ablab.doctor.checks")

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
    """A decorator that registers a function as a check.

    Args:
        name: The check's name, which is also the name of its file.
        part: ``task`` if the check depends on the task only; then each task is examined once.
        claim: What is true if the check finds no problem, in a few words.
    """

    def decorate(function: Examine) -> Examine:
        CHECKS.register(name)(Check(name, part, claim, function))
        return function

    return decorate


def all_checks() -> list[Check]:
    """All checks: those of the task, then those of the model, each sorted by name."""
    return chosen_checks(CHECKS.names())


def chosen_checks(names: Iterable[str]) -> list[Check]:
    """The named checks, in the order of :func:`all_checks`.

    Raises:
        InputError: A name is unknown, or ``names`` is empty.
    """
    known, wanted = CHECKS.names(), set(names)
    expected = "one of " + ", ".join(known)
    if not wanted:
        raise InputError(Problem("checks: no check is named", "checks", expected=expected))
    unknown = sorted(wanted - set(known))
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
    found: list[Any] = [CHECKS.find(name, "checks") for name in wanted]
    return sorted(found, key=lambda each: (each.part != "task", each.name))
