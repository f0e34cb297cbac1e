"""Verdicts of one family: how many chance alone would give, and what remains after correction."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablab.read.effects.inference import ALPHA, holm
from ablab.read.judgements import Outcome
from ablab.read.verdicts import Verdict


@dataclass(frozen=True)
class Family:
    """The verdicts of one family, corrected for their number.

    Attributes:
        adjusted: Holm's adjusted p-value of each verdict; None if it has no test.
        corrected: The outcome of each verdict at 5% for the whole family; None if it has no test.
        decided: The number of tested verdicts that are decided.
    """

    adjusted: tuple[float | None, ...]
    corrected: tuple[Outcome | None, ...]
    decided: int

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
        """What this means, in two sentences; empty if nothing was tested."""
        if not self.tested:
            return ""
        many = "" if self.tested == 1 else "s"
        is_are = "is" if self.decided == 1 else "are"
        stay = "stays" if self.remaining == 1 else "stay"
        return (
            f"{self.decided} of {self.tested} tested {noun}{many} {is_are} decided at the 5% "
            f"level; chance alone would decide about {self.by_chance:.2g}. "
            f"Corrected for all {self.tested} (Holm), {self.remaining} {stay} decided."
        )


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
    return Family(adjusted, tuple(corrected), decided)
