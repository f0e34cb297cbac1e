"""Verdicts on expectations: held, failed or undecided, with evidence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ablab.config import InputError
from ablab.config.shown import Displayed, Shown
from ablab.experiments.seeds import settling_of
from ablab.read.judgements import Estimand, Found, Outcome
from ablab.read.judging import judge_frame, measure
from ablab.read.settling import settle_expectation
from ablab.store.expected import Stamped, stamped
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store

State = Literal["held", "failed", "undecided", "not tested"]
"""What became of an expectation: its outcome, or that there was nothing to test."""


@dataclass(frozen=True, repr=False)
class Verdict(Displayed):
    """The verdict on an expectation.

    Attributes:
        claim: The claim in its author's words.
        sentence: The expectation as it is tested.
        outcome: ``held``, ``failed`` or ``undecided``, also if nothing could be tested.
        evidence: The numbers behind the outcome, in a sentence; if nothing could be tested, why.
        value: The tested number, as ``estimand`` says; None if none was computed, as where ranks
            decide.
        interval: The 95% confidence interval of ``value`` (for a value that is predicted, its
            prediction interval); None with too few seeds, if all are equal, if it is too wide to
            estimate anything, or if there is no ``value``.
        confidence: The confidence stated by its author; None if not stated.
        written: When it was written: UTC, ISO 8601; None if it is not known.
        late: Whether results already existed when it was written.
        seen: The number of runs that had results when it was written.
        figure: The number that its source reports, as text; None if there is none.
        source: The source of the claim; None if not stated.
        p: The p-value of the test that decided, or else the lower one of those for and against;
            None if nothing was tested, as with one seed, or if an interval is the test.
        counts: If the measure is a step that some runs did not reach: for each cell that is
            compared, how many runs reached it, and of how many; else None.
        estimand: What ``value`` is: ``median`` or ``mean`` of the measure, ``difference`` or
            ``ratio`` of two cells, or from each value of the setting to the next the ``slope`` (the
            change of the measure, or of its natural logarithm where ratios matter) or the
            ``factor``; None if nothing is estimated, or ``value`` is a prediction of the measure.
        tested: Whether anything was tested, with a p-value or without. Where there is one seed, or
            all values are equal, a range can be held or failed without a test.
        settled: Where seeds are added until questions are settled, the number of seeds of the look
            that it tells of; ``p`` is then for all looks, and ``interval`` at the level of that
            look, so that it covers whenever one stops. Else None.
    """

    claim: str
    sentence: str
    outcome: Outcome
    evidence: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    written: str | None = None
    late: bool = False
    seen: int = 0
    figure: str | None = None
    source: str | None = None
    p: float | None = None
    counts: tuple[tuple[int, int], ...] | None = None
    estimand: Estimand | None = None
    tested: bool = False
    settled: int | None = None

    @property
    def state(self) -> State:
        """What became of it: ``not tested`` if it is undecided because no test was possible.

        Else as ``outcome``. Tables and counts use this, so that they agree.
        """
        if self.outcome == "undecided" and self.p is None and not self.tested:
            return "not tested"
        return self.outcome

    @property
    def said(self) -> str:
        """The number that its source reports, and the source; empty if neither is known."""
        if self.source is None:
            return self.figure or ""
        return f"{self.figure} ({self.source})" if self.figure else self.source

    def shown(self) -> Shown:
        """The claim, what became of it, and the evidence."""
        return Shown(f"{self.state}: {self.claim}", [self.sentence, self.evidence])

    def as_data(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return asdict(self) | {"state": self.state}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Verdict":
        """Rebuilds a verdict from the result of :meth:`as_data`."""
        return cls(**{name: value for name, value in data.items() if name != "state"})


def verdicts(store: Store, record: ExperimentRecord) -> list[Verdict]:
    """The verdict on each expectation of an experiment, in the order of writing."""
    return [judge(store, record, each) for each in stamped(store, record)]


def judge(store: Store, record: ExperimentRecord, stamp: Stamped) -> Verdict:
    """The verdict on one expectation; where seeds are added, at the look that settled it."""
    expectation = stamp.expectation
    settled = None
    try:
        frame = measure(store, record, expectation)
        if settling_of(record.definition) is not None:
            settled = settle_expectation(store, record, expectation, frame)
            found = settled.told
        else:
            found = judge_frame(store, record, expectation, frame)
    except StoreError:  # damaged data give no verdict, not even that there is none
        raise
    except InputError as error:
        found = Found("undecided", error.problems[0].message)
    return Verdict(
        expectation.text,
        expectation.sentence,
        found.outcome,
        found.evidence,
        found.value,
        found.interval,
        expectation.confidence,
        stamp.written,
        stamp.late,
        stamp.seen,
        expectation.figure,
        expectation.source,
        found.p,
        found.counts,
        found.estimand,
        found.tested,
        None if settled is None else settled.seeds,
    )
