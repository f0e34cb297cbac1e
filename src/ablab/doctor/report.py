"""The result of an examination, for terminals, notebooks and programs."""

import textwrap
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ablab.config.shown import Displayed, Shown
from ablab.doctor.check import Finding

FORWARD = "forward"  # the check without which no other check of a model runs
_WIDTH = 80
_ORDER = {"ok": 1, "not": 2}  # of outcomes in a notebook; findings come first
_WRAPPING: dict[str, Any] = {"subsequent_indent": " " * 12, "break_on_hyphens": False}

Status = Literal["ok", "finding", "meant", "not applicable"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check for the variants of one shape.

    Attributes:
        check: The check's name.
        claim: What is true if the check finds no problem.
        variants: The labels of the variants.
        findings: The problems found; empty if there are none.
        reason: Why the check was not applicable; None if it was.
        notes: Figures, also if there are no findings.
        meant: Why the findings are meant; None if they are not.
        raised: Whether the check raised an error, or returned no findings, which is its finding.
    """

    check: str
    claim: str
    variants: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()
    meant: str | None = None
    raised: bool = False

    @property
    def status(self) -> Status:
        """``ok``, ``finding``, ``meant`` (the findings are) or ``not applicable``."""
        if self.findings:
            return "finding" if self.meant is None else "meant"
        return "ok" if self.reason is None else "not applicable"

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "check": self.check,
            "claim": self.claim,
            "variants": list(self.variants),
            "status": self.status,
            "reason": self.reason,
            "notes": list(self.notes),
            "meant": self.meant,
            "findings": [vars(finding) for finding in self.findings],
        }


@dataclass(frozen=True, repr=False)
class Report(Displayed):
    """The doctor's report on an experiment, a model or a task.

    Attributes:
        subject: The name of what was examined.
        outcomes: The outcome of every check, for each shape of model or each task.
        not_found: What was given as meant, although its check found nothing.
    """

    subject: str
    outcomes: tuple[Outcome, ...]
    not_found: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether no problems were found, other than those that are meant."""
        return not self.findings

    @property
    def findings(self) -> list[tuple[str, Finding, tuple[str, ...]]]:
        """All findings that are not meant, as (check, finding, variants).

        Equal findings of variants are merged.
        """
        found = _merged(each for each in self.outcomes if each.meant is None)
        return [(check, finding, variants) for check, finding, variants, _ in found]

    @property
    def meant(self) -> list[tuple[str, Finding, tuple[str, ...], str]]:
        """The findings that are meant, as (check, finding, variants, reason)."""
        found = _merged(each for each in self.outcomes if each.meant is not None)
        return [(check, finding, variants, str(why)) for check, finding, variants, why in found]

    def rows(self) -> list[tuple[str, str, str]]:
        """One row per check, as (check, claim, outcome)."""
        by_check: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in self.outcomes:
            by_check[outcome.check].append(outcome)
        return [(name, own[0].claim, _summary(own)) for name, own in by_check.items()]

    def finding_texts(self) -> list[str]:
        """The full text of each finding, over several lines."""
        several = len({label for each in self.outcomes for label in each.variants}) > 1
        texts = []
        for check, finding, variants in self.findings:
            lines = [f"{check}: {finding.message}"]
            if several:
                lines.append(f"  in        {'; '.join(variants)}")
            lines += [
                f"  evidence  {finding.evidence}",
                f"  cause     ({finding.certainty}) {finding.cause}",
            ]
            texts.append("\n".join(textwrap.fill(line, _WIDTH, **_WRAPPING) for line in lines))
        return texts

    def note_texts(self) -> list[str]:
        """The figures of each check, over several lines."""
        notes: dict[str, None] = {}
        for outcome in self.outcomes:
            notes |= dict.fromkeys(f"{outcome.check}: {note}" for note in outcome.notes)
        lines = [textwrap.fill(note, _WIDTH, **_WRAPPING) for note in notes]
        return ["\n".join(lines)] if lines else []

    def meant_texts(self) -> list[str]:
        """The text of each finding that is meant, with the reason; and what was not found."""
        several = len({label for each in self.outcomes for label in each.variants}) > 1
        texts = []
        for check, finding, variants, reason in self.meant:
            lines = [f"{check}: {finding.message}"]
            if several:
                lines.append(f"  in        {'; '.join(variants)}")
            lines.append(f"  meant     {reason}")
            texts.append("\n".join(textwrap.fill(line, _WIDTH, **_WRAPPING) for line in lines))
        return texts + [
            f"{each}: given as meant, but the check found nothing; remove it"
            for each in self.not_found
        ]

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "subject": self.subject,
            "healthy": self.healthy,
            "checks": [outcome.as_data() for outcome in self.outcomes],
            "findings": [
                {"check": check, **vars(finding), "variants": list(variants)}
                for check, finding, variants in self.findings
            ],
            "meant": [
                {"check": check, **vars(finding), "variants": list(variants), "reason": reason}
                for check, finding, variants, reason in self.meant
            ],
            "meant_not_found": list(self.not_found),
        }

    def shown(self) -> Shown:
        """The verdict, each finding with its cause, and the outcome of every check."""
        found = [f"{check}: {each.message}" for check, each, _ in self.findings]
        causes = [f"cause ({each.certainty}): {each.cause}" for _, each, _ in self.findings]
        rows = sorted(self.rows(), key=lambda row: _ORDER.get(row[2].split()[0].rstrip(":"), 0))
        return Shown(
            f"{self.subject}: {self.verdict}",
            [text for pair in zip(found, causes, strict=True) for text in pair],
            ["check", "outcome", "claim"],
            [(name, outcome, claim) for name, claim, outcome in rows],
            "print(report)",
        )

    @property
    def verdict(self) -> str:
        """Whether problems were found, in a few words."""
        verdict = "no problems found"
        if not self.healthy:
            count = len(self.findings)
            verdict = f"{count} finding{'s' if count != 1 else ''}"
        elif any(each.check == FORWARD and each.reason for each in self.outcomes):
            verdict = "no problems found, but not all of it was examined"
        if self.meant:
            verdict += f" ({len(self.meant)} meant)"
        return verdict

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _, _ in rows)
        lines = [_row(f"{name:{width}}", claim, outcome) for name, claim, outcome in rows]
        texts = [*self.note_texts(), *self.finding_texts(), *self.meant_texts()]
        return "\n\n".join(["\n".join(lines), *texts, f"{self.subject}: {self.verdict}"])


def _row(name: str, claim: str, outcome: str) -> str:
    """A line for a check: its name, its outcome, its claim, and why it does not apply."""
    status, _, reason = outcome.partition(": ")
    text = f"{claim} ({reason})" if reason else claim
    start = f"{name}  {status:14}  "
    return textwrap.fill(start + text, _WIDTH, subsequent_indent=" " * len(start))


def _merged(
    outcomes: Iterable[Outcome],
) -> list[tuple[str, Finding, tuple[str, ...], str | None]]:
    """The findings of outcomes, as (check, finding, variants, why it is meant)."""
    merged: dict[tuple[str, str, str, str | None], tuple[Finding, list[str]]] = {}
    for outcome in outcomes:
        for finding in outcome.findings:
            key = (outcome.check, finding.message, finding.cause, outcome.meant)
            merged.setdefault(key, (finding, []))[1].extend(outcome.variants)
    return [
        (check, finding, tuple(dict.fromkeys(variants)), why)
        for (check, _, _, why), (finding, variants) in merged.items()
    ]


def _summary(outcomes: list[Outcome]) -> str:
    """The outcome of a check over all shapes, in a few words."""
    found = [each for each in outcomes if each.status == "finding"]
    if found:
        return "FINDING" + (f" in {len(found)} of {len(outcomes)}" if len(outcomes) > 1 else "")
    meant = [each for each in outcomes if each.status == "meant"]
    if meant:
        return "meant" + (f" in {len(meant)} of {len(outcomes)}" if len(outcomes) > 1 else "")
    if all(each.status == "not applicable" for each in outcomes):
        reasons = dict.fromkeys(str(each.reason) for each in outcomes)
        return f"not applicable: {'; '.join(reasons)}"
    return "ok"
