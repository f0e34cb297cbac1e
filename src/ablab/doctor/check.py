"""What a check is: a function of a patient that returns what it found; found by its file.

A check is one file in ``ablab/doctor/checks`` with one decorated function; no list is edited.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ablab.config import InputError, Problem, Registry, nearest
from ablab.doctor.patient import Patient

CHECKS = Registry("check", "ablab.doctor.checks")

Part = Literal["task", "model"]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it claims to be.

    Attributes:
        message: What is wrong, as a sentence without its full stop.
        evidence: What shows it: numbers, positions, names.
        cause: Where it usually comes from and what to do, in sentences.
    """

    message: str
    evidence: str
    cause: str


class NotApplicable(Exception):  # noqa: N818 - nothing went wrong
    """A check has nothing to look at; the message says why."""


Examine = Callable[[Patient], list[Finding]]


@dataclass(frozen=True)
class Check:
    """A registered check.

    Attributes:
        name: Its name.
        part: What it examines.
        claim: What holds where it finds nothing.
        examine: Returns what is wrong; raises :class:`NotApplicable` where it cannot tell.
    """

    name: str
    part: Part
    claim: str
    examine: Examine


def check(name: str, part: Part, claim: str) -> Callable[[Examine], Examine]:
    """A decorator that makes a function a check.

    Args:
        name: The check's name.
        part: ``task`` where only the task matters, so that each task is examined once.
        claim: What holds where nothing is found, in a few words.
    """

    def decorate(function: Examine) -> Examine:
        CHECKS.register(name)(Check(name, part, claim, function))
        return function

    return decorate


def all_checks() -> list[Check]:
    """Every check: the task's, then the model's, each sorted by name."""
    return chosen_checks(CHECKS.names())


def chosen_checks(names: Iterable[str]) -> list[Check]:
    """The checks called ``names``, in the order of :func:`all_checks`.

    Raises:
        InputError: There is no check of a name, or no name at all.
    """
    known, wanted = CHECKS.names(), set(names)
    expected = "one of " + ", ".join(known)
    if not wanted:
        raise InputError(Problem("checks: none is named", "checks", expected=expected))
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
