"""What successive halving decided, and what it saved."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ablab.config import counted
from ablab.experiments.halving import halving_of
from ablab.experiments.measures import parse_measure
from ablab.experiments.outline import trained_part
from ablab.experiments.short_names import short_names
from ablab.read.directions import column_direction
from ablab.read.halving import by_variant
from ablab.read.measured import shown
from ablab.read.measures import ENDED, measure_runs
from ablab.store.metrics import experiment_runs
from ablab.store.rungs import PausedRun, RungDecision, paused_runs, rung_decisions
from ablab.store.store import ExperimentRecord, RunRecord, Store

_WORDS = {"goes on": "goes on", "late": "goes on (late)", "paused": "paused", "ended": "has ended",
          "not judged": "not judged"}  # fmt: skip
RESUME = "halving=null"
_FEW = 6  # variants that are named in a line
"""The override with which the paused runs resume."""


@dataclass(frozen=True)
class HalvingReport:
    """What halving decided, and what it saved.

    Attributes:
        measure: The measure by which variants are judged.
        variants: The short name of each variant, by its place in the grid.
        decisions: The decisions, by rung and then by the variant's place.
        run_steps: The steps that the runs of the experiment have, summed over runs.
        full: The steps that the full grid has, without those after a stop rule or a divergence.
        agreement: Whether the full grid, if the store has all of it, has the same best variant;
            empty if it does not.
    """

    measure: str
    variants: tuple[str, ...]
    decisions: tuple[RungDecision, ...]
    run_steps: int
    full: int
    agreement: str = ""

    @property
    def late(self) -> int:
        """The number of variants that went on only because of a plateau, at any rung."""
        return len({each.variant for each in self.decisions if each.outcome == "late"})

    @property
    def paused(self) -> int:
        """The number of variants that are paused."""
        return sum(each.outcome == "paused" for each in self.decisions)

    @property
    def sentence(self) -> str:
        """What was paused and saved, and how paused runs resume."""
        saved = self.full - self.run_steps
        share = f" ({saved / self.full:.0%})" if self.full else ""
        text = (
            f"Halving paused {self.paused} of {counted(len(self.variants), 'variant')}: "
            f"{self.run_steps:,} of {self.full:,} run-steps, {saved:,} fewer{share} than the full "
            "grid."
        )
        if self.late:
            verb = "goes" if self.late == 1 else "go"
            text += (
                f" {counted(self.late, 'variant')} with a worse value {verb} on, on plateaus that "
                "others have left."
            )
        if self.paused:
            text += (
                " Paused runs are not known to be worse; the same experiment with "
                f"{RESUME} resumes them."
            )
        return f"{text} {self.agreement}".rstrip()

    def _name(self, each: RungDecision) -> str:
        """The short name of a variant; its place if a stranger's store has no such variant."""
        known = 0 <= each.variant < len(self.variants)
        return self.variants[each.variant] if known else str(each.variant)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The decisions as the header and the rows of a text table."""
        header = ["rung", "variant", "value", "threshold", "outcome", "why"]
        rows = [
            [f"{each.rung:,}", self._name(each), _shown(each.value),
             _shown(each.threshold), _WORDS[each.outcome], each.why]
            for each in self.decisions
        ]  # fmt: skip
        return header, rows

    def as_data(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "measure": self.measure,
            "decisions": [
                asdict(each) | {"variant": self._name(each), "place": each.variant}
                for each in self.decisions
            ],
            "run_steps": self.run_steps,
            "full_run_steps": self.full,
            "paused": self.paused,
            "late": self.late,
            "agreement": self.agreement or None,
        }


def halving_report(store: Store, record: ExperimentRecord) -> HalvingReport | None:
    """What halving decided of an experiment; None if it has no halving."""
    halving = halving_of(record.definition)
    if halving is None:
        return None
    runs = experiment_runs(store, record)
    decisions, paused = tuple(rung_decisions(store, record.id)), paused_runs(store, record)
    return HalvingReport(
        halving.measure,
        tuple(_names(store, record, runs)),
        decisions,
        sum(run.step for run in runs),
        sum(run.step if _has_ended(run, paused) else run.steps for run in runs),
        _agreement(store, record, halving.measure, runs, decisions),
    )


def _has_ended(run: RunRecord, paused: Mapping[str, PausedRun]) -> bool:
    """Whether a run would have no more steps in the full grid either."""
    return run.status in ENDED and run.run not in paused


def rung_sentence(store: Store, record: ExperimentRecord, decisions: Sequence[RungDecision]) -> str:
    """What was decided after a rung, in one line."""
    if not decisions:
        return "halving: nothing is left to decide"
    names = _names(store, record, experiment_runs(store, record))
    paused = [names[each.variant] for each in decisions if each.outcome == "paused"]
    late = [names[each.variant] for each in decisions if each.outcome == "late"]
    on = len(decisions) - len(paused)
    text = f"halving at step {decisions[0].rung:,}: {on} of {counted(len(decisions), 'variant')}"
    text += f" {'goes' if on == 1 else 'go'} on"
    if late:
        text += f", {_few(late)} on a plateau that others have left"
    return text + (f"; paused: {_few(paused)}" if paused else "")


def _few(names: Sequence[str]) -> str:
    """The first of many names, and how many others there are."""
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[: _FEW - 1])} and {len(names) - _FEW + 1} others"


def _names(store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]) -> list[str]:
    cells = by_variant(store, record, runs)
    return short_names([cells[place][0].variant for place in sorted(cells)])


def _shown(value: float | None) -> str:
    return "" if value is None else shown(value)


def _agreement(
    store: Store,
    record: ExperimentRecord,
    measure: str,
    runs: Sequence[RunRecord],
    decisions: Sequence[RungDecision],
) -> str:
    """Whether the full grid has the same best variant; empty if the store does not have all."""
    full = _full_grid(store, record, runs)
    if full is None or any(run.status not in ENDED for run in runs):
        return ""
    mine, theirs = (_best(store, each, measure) for each in (record, full))
    if mine is None or theirs is None:
        return ""
    names = _names(store, record, runs)
    if mine == theirs:
        return f"The full grid has the same best variant: {names[theirs]}."
    when = next((e.rung for e in decisions if e.variant == theirs and e.outcome == "paused"), None)
    paused = "" if when is None else f", which was paused at step {when:,}"
    return f"The full grid has another best variant: {names[theirs]}{paused}; here, {names[mine]}."


def _full_grid(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]
) -> ExperimentRecord | None:
    """The same experiment without halving, if all of its runs have ended; else None."""
    wanted = {k: v for k, v in trained_part(record.definition).items() if k != "halving"}
    own = {run.run for run in runs}
    for other in reversed(store.experiments()):
        if other.name != record.name or trained_part(other.definition) != wanted:
            continue
        theirs = experiment_runs(store, other)
        if {run.run for run in theirs} == own and all(run.status in ENDED for run in theirs):
            return other
    return None


def _best(store: Store, record: ExperimentRecord, measure: str) -> int | None:
    """The place of the variant with the best median at the end; None if none has a value."""
    parsed = parse_measure(measure)
    runs = experiment_runs(store, record)
    values = measure_runs(store, record, runs, parsed)
    better = parsed.direction or column_direction(record, parsed.column)
    sign = -1 if better == "higher" else 1
    found = {}
    for place, some in by_variant(store, record, runs).items():
        known = [value for run in some if (value := values[run.run].value) is not None]
        if known:
            found[place] = sign * statistics.median(known)
    return min(found, key=lambda place: (found[place], place), default=None)
