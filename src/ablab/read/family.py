"""Verdicts of one family: how many chance alone would give, and what remains after correction."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablab.read.effects.inference import ALPHA, holm
from ablab.read.judgements import Outcome
from ablab.read.verdicts import Verdict

STATES = ("held", "failed", "undecided", "not tested")
"""What can become of an expectation, in the order of a tally."""
UNDECIDED_AFTER = "so undecided among them"
"""What a remark on a verdict ends with that is decided alone and not after the correction."""


@dataclass(frozen=True)
class Family:
    """The verdicts of one family, corrected for their number.

    Attributes:
        adjusted: Holm's adjusted p-value of each verdict; None if it has no test.
        corrected: The outcome of each verdict at 5% for the whole family; None if it has no test.
        decided: The number of tested verdicts that are decided.
        claims: The claim of each verdict; empty for one that was not run.
        lost: Whether each verdict is decided, but not after correction.
    """

    adjusted: tuple[float | None, ...]
    corrected: tuple[Outcome | None, ...]
    decided: int
    claims: tuple[str, ...] = ()
    lost: tuple[bool, ...] = ()

    @property
    def tested(self) -> int:
        """The number of verdicts that have a test."""
        return sum(each is not None for each in self.adjusted)

    @property
    def by_chance(self) -> float:
        """The number of verdicts that chance alone would decide, at 5% each."""
        return ALPHA * self.tested

    @property
    def remaining(self) -> int:
        """The number of tested verdicts that are decided after correction."""
        return sum(each in ("held", "failed") for each in self.corrected)

    def sentence(self, noun: str = "verdict") -> str:
        """What this means, in one or two sentences, with the claims that stay decided or do not.

        Empty if nothing was tested.
        """
        if not self.tested:
            return ""
        is_are = "is" if self.decided == 1 else "are"
        stay = "stays" if self.remaining == 1 else "stay"
        if self.tested == 1:
            is_are = "is decided" if self.decided else "is not decided"
            return f"One {noun} was tested, and {is_are} at the 5% level."
        return (
            f"{self.decided} of {self.tested} tested {noun}s {is_are} decided at the 5% "
            f"level; chance alone would decide about {self.by_chance:.2g}. "
            f"Corrected for all {self.tested} tests (Holm's method), {self.remaining} {stay} "
            f"decided{self._which()}."
        )

    def _which(self) -> str:
        """The claims that stay decided, or if those are fewer, the decided ones that do not."""
        known = (
            list(zip(self.corrected, self.lost, self.claims, strict=True)) if self.claims else []
        )
        stay = [claim for outcome, _, claim in known if outcome in ("held", "failed")]
        lost = [claim for _, is_lost, claim in known if is_lost]
        if not stay:
            return ""
        if not lost:
            return ", as all that were" if len(stay) > 1 else f": {_quoted(stay)}"
        return f": {_quoted(stay)}" if len(stay) <= len(lost) else f", all but {_quoted(lost)}"


def family(verdicts: Sequence[Verdict | None]) -> Family:
    """Corrects the verdicts of one family; None stands for a claim whose runs were not run.

    The probability that any verdict of the family is decided wrongly is then at most 5% (Holm,
    1979). A verdict without a test, as that of a single seed, has no correction.
    """
    adjusted = tuple(holm([None if each is None else each.p for each in verdicts]))
    corrected: list[Outcome | None] = []
    for each, p in zip(verdicts, adjusted, strict=True):
        if each is None or p is None:
            corrected.append(None)
        else:
            corrected.append(each.outcome if p < ALPHA else "undecided")
    decided = sum(
        each is not None and each.p is not None and each.outcome != "undecided" for each in verdicts
    )
    lost = tuple(
        each is not None and each.outcome != "undecided" and after == "undecided"
        for each, after in zip(verdicts, corrected, strict=True)
    )
    claims = tuple("" if each is None else each.claim for each in verdicts)
    return Family(adjusted, tuple(corrected), decided, claims, lost)


def tally(states: Sequence[str]) -> str:
    """How many expectations came out in each way, such as ``7 held, 1 undecided``.

    Args:
        states: The state of each, as :attr:`ablab.read.verdicts.Verdict.state` gives it, or
            something else, such as ``not run``, which then comes last.
    """
    order = dict.fromkeys((*STATES, *states))
    return ", ".join(f"{states.count(each)} {each}" for each in order if each in states)


def remarks(verdicts: Sequence[Verdict]) -> list[str]:
    """For each verdict, its p-value before and after the correction for the whole family.

    Empty for a verdict without a test. A verdict that is decided alone and not after the
    correction says so: tables of effects, which correct for their comparisons, call the same
    numbers undecided.
    """
    made = family(verdicts)
    told = []
    for each, adjusted, lost in zip(verdicts, made.adjusted, made.lost, strict=True):
        if each.p is None or adjusted is None:
            told.append("")
            continue
        alone = "" if "p = " in each.evidence else f"p = {each.p:.2g}"
        after = ""
        if made.tested > 1 and each.outcome != "undecided":
            after = f"p = {adjusted:.2g} corrected for all {made.tested} tests"
            after += f", {UNDECIDED_AFTER}" if lost else ""
        told.append("; ".join(filter(None, [alone, after])))
    return told


def _quoted(claims: Sequence[str]) -> str:
    return "; ".join(f"“{claim}”" for claim in claims)
