"""Findings that are meant: ``causality: "bidirectional on purpose"`` in place of a problem."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablab.config import InputError, Problem
from ablab.doctor.check import chosen_checks
from ablab.doctor.checks.forward import NAME as FORWARD
from ablab.doctor.report import Outcome
from ablab.experiments.setting_keys import known_keys, suggest_key

_EXPECTED = "CHECK or CHECK:KEY=VALUE,KEY=VALUE, with a reason in words"
_ENTRY = re.compile(r"(?P<check>[^:=]+)(?::(?P<where>[^=,]+=[^=,]*(?:,[^=,]+=[^=,]*)*))?")
_OPTION = re.compile(rf"(?P<entry>{_ENTRY.pattern})=(?P<reason>.*)", re.DOTALL)


@dataclass(frozen=True)
class Meant:
    """A finding that the user expects.

    Attributes:
        text: It as written: ``causality``, or ``causality:model.kind=mymod:Both``.
        check: The name of the check.
        where: The cells that it is about, as settings with values as text; empty for all.
        reason: Why it is meant.
    """

    text: str
    check: str
    where: dict[str, str]
    reason: str

    def covers(self, cell: Mapping[str, Any]) -> bool:
        """Whether it is about a cell of the grid."""
        return all(key in cell and str(cell[key]) == value for key, value in self.where.items())


def meant_options(texts: Iterable[str]) -> dict[str, str]:
    """The values of ``--meant``, ``CHECK[:KEY=VALUE,…]=REASON``, as a mapping.

    Raises:
        InputError: A value does not have this form.
    """
    found = {}
    for text in texts:
        match = _OPTION.fullmatch(text)
        if match is None:
            expected = "CHECK=REASON, or CHECK:KEY=VALUE,KEY=VALUE=REASON"
            raise InputError(Problem("--meant has a wrong value", "--meant", None, text, expected))
        found[match["entry"]] = match["reason"]
    return found


def read_meant(given: Mapping[str, Any], axes: Sequence[str]) -> list[Meant]:
    """What is meant, by check and cell.

    Args:
        given: Reasons by ``CHECK`` or ``CHECK:KEY=VALUE,…``.
        axes: The keys of the axes of the grid.

    Raises:
        InputError: There is no such check or key, or no reason is given.
    """
    found, problems = [], []
    for text, reason in given.items():
        match = _ENTRY.fullmatch(str(text))
        if match is None or not isinstance(reason, str) or not reason.strip():
            problems.append(
                Problem("meant has a wrong entry", f"meant.{text}", None, reason, _EXPECTED)
            )
            continue
        chosen_checks([match["check"]])
        if match["check"] == FORWARD:
            message = f"{FORWARD} cannot be meant: a model that does not run cannot be examined"
            problems.append(Problem(message, f"meant.{text}"))
        pairs = [pair.partition("=") for pair in (match["where"] or "").split(",") if pair]
        where = {key.strip(): value.strip() for key, _, value in pairs}
        for key in where:
            if key not in axes and key not in known_keys() and suggest_key(key) != key:
                message = f"meant: {key} is neither a setting nor an axis of this grid"
                suggestion = suggest_key(key, list(axes)) if axes else suggest_key(key)
                problems.append(Problem(message, f"meant.{text}", suggestion=suggestion))
        found.append(Meant(str(text), match["check"], where, reason.strip()))
    if problems:
        raise InputError(*problems)
    return found


def mark_meant(
    outcomes: Iterable[Outcome], meant: Sequence[Meant], cells: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Outcome], list[str]]:
    """Marks the findings that are meant.

    A check that raised is never marked: an error is not what the check looks for.

    Args:
        outcomes: The outcomes of the checks.
        meant: What is meant; of two entries for the same cell, the first one counts.
        cells: The cell of each variant, by label.

    Returns:
        The outcomes, split where only some of the variants are meant, and the entries whose check
        ran on their cells and found nothing.
    """
    marked: list[Outcome] = []
    ran: set[str] = set()
    used: set[str] = set()
    for outcome in outcomes:
        own = [each for each in meant if each.check == outcome.check]
        left = list(outcome.variants)
        for each in own:
            covered = [label for label in left if each.covers(cells[label])]
            ran |= {each.text} if any(each.covers(cells[v]) for v in outcome.variants) else set()
            if outcome.findings and not outcome.raised and covered:
                used.add(each.text)
                marked.append(replace(outcome, variants=tuple(covered), meant=each.reason))
                left = [label for label in left if label not in covered]
        if left:
            marked.append(replace(outcome, variants=tuple(left)))
    return marked, [each.text for each in meant if each.text in ran - used]
