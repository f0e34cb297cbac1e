"""The first sentence of an entry: it answers the question in the heading, or says what is open."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any, Literal

import polars as pl

from ablab.config.wording import counted
from ablab.experiments.measures import VALUES, parse_measure
from ablab.experiments.short_names import setting_name, short_keys, short_names
from ablab.logbook.ladder import Ladder, find_ladder
from ablab.read.curves.numbers import number
from ablab.read.directions import column_direction
from ablab.read.effects import Comparison, Effects, comparison_sentence, scaling_sentence
from ablab.read.family import tally
from ablab.read.measure_words import measure_words
from ablab.read.measures import ENDED, is_step
from ablab.read.short_variants import cell_key, is_affected, short_variants
from ablab.read.verdicts import Verdict
from ablab.store.store import ExperimentRecord, RunRecord

State = Literal["answered", "open", "unfinished", "nothing"]
_FEW = 3  # so many expectations about the measure are the answer; more are counted
_MOST = 200  # more seeds than this are no advice


@dataclass(frozen=True)
class Answer:
    """What came out, as the first sentences of an entry.

    Attributes:
        state: ``answered``; ``open`` if nothing about it is decided; ``unfinished`` while runs
            are missing, when nothing is concluded; ``nothing`` if no run has a value.
        sentences: The answer first, then what is needed to judge it.
        measure: The measure that the question is about; None if nothing has one.
        words: The measure in words.
        declared: Whether the experiment, its task or its expectations name the measure.
        negative: Why the result is negative: what was shown to make no difference that matters.
        values: The measure of each run, as :func:`ablab.read.measures.measure_table` gives it; None
            if it was not logged.
        effects: The effects of the grid's settings on the measure; None without a grid.
        ladder: The steps of a ladder of variants; None if the grid is none.
    """

    state: State
    sentences: list[str]
    measure: str | None
    words: str
    declared: bool
    negative: list[str]
    values: pl.DataFrame | None = None
    effects: Effects | None = None
    ladder: Ladder | None = None


def answer_measure(record: ExperimentRecord) -> str | None:
    """The measure that an experiment's question is about, as it was declared.

    The experiment's own ``answer`` comes first, then the measure of its first expectation, then
    what all of its tasks declare. None if nothing does.
    """
    known, definition = record.registration, record.definition
    if known is not None and known.answer is not None:
        return known.answer
    if definition.get("expect"):
        return str(definition["expect"][0]["measure"])
    named = set() if known is None else {task.answer for task in known.tasks}
    return named.pop() if len(named) == 1 else None


def find_answer(
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    judged: Sequence[Verdict],
    values: pl.DataFrame | None,
    effects: Effects | None,
) -> Answer:
    """The answer to an experiment's question.

    Args:
        record: The experiment.
        runs: Its runs.
        judged: The verdicts on its expectations.
        values: The measure of each run, as :func:`ablab.read.measures.measure_table` gives it; None
            if it was not logged.
        effects: The effects of the grid's settings on the measure; None without a grid.
    """
    declared = answer_measure(record)
    measure = declared or (None if effects is None else effects.measure) or "final(train_loss)"
    open_runs = sum(run.status not in ENDED for run in runs)
    ladder = None
    if values is not None and not open_runs:
        ladder = find_ladder(record, runs, measure, values)
    short = short_variants(runs) if is_affected(parse_measure(measure)) else {}
    made = _Made(record, measure, values, effects, ladder, short)

    def answer(state: State, *sentences: str, negative: Sequence[str] = ()) -> Answer:
        said, known = [each for each in sentences if each], declared is not None
        return Answer(
            state, said, measure, made.words, known, list(negative), values, effects, ladder
        )

    if open_runs:
        ended = counted(len(runs) - open_runs, "run")
        return answer(
            "unfinished",
            f"Nothing is concluded yet: {ended} of {len(runs):,} "
            f"{'has' if len(runs) - open_runs == 1 else 'have'} ended.",
        )
    if values is None or not (made.numbers or made.unreached):
        return answer("nothing", f"No answer: no run has a value of {measure}.")
    counts = _tally(judged)
    mine = [each for each in judged if each.sentence.startswith(f"{measure} ")]
    alike = [f"{each.claim} ({each.evidence})" for each in mine if _is_held_equivalence(each)]
    lead, decided = made.lead(), made.decided()
    if 1 <= len(mine) <= _FEW:
        mine.sort(key=lambda each: each.outcome == "undecided")
        state: State = "open" if mine[0].outcome == "undecided" else "answered"
        more = counts if len(judged) > len(mine) else ""
        negative = alike if len(alike) == len(mine) else []
        return answer(state, *map(_judged, mine), lead, more, negative=negative)
    if len(made.cells) < 2 or decided:
        first = [lead, *decided] if ladder is None else [*decided, lead]
        return answer("answered", *first, counts)
    negative = made.negative()
    if negative:
        return answer("answered", lead, *negative, counts, negative=negative)
    return answer("open", lead, made.needed(), counts)


@dataclass(frozen=True)
class _Made:
    """The values of a measure, and what can be said of them."""

    record: ExperimentRecord
    measure: str
    values: pl.DataFrame | None
    effects: Effects | None
    ladder: Ladder | None
    short: Mapping[str, int]

    @property
    def words(self) -> str:
        return measure_words(self.measure)

    @property
    def cells(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The rows of each variant, with its short name."""
        if self.values is None:
            return []
        keys = list(self.record.definition["grid"])
        rows = self.values.to_dicts()
        groups = [list(each) for _, each in groupby(rows, lambda row: [row[key] for key in keys])]
        names = short_names([{key: each[0][key] for key in keys} for each in groups])
        return list(zip(names, groups, strict=True))

    @property
    def numbers(self) -> int:
        return sum(row["value"] is not None for _, rows in self.cells for row in rows)

    @property
    def unreached(self) -> int:
        return sum(row["not_before"] is not None for _, rows in self.cells for row in rows)

    def lead(self) -> str:
        """The values themselves: which variant has the best ones, or how many runs got there."""
        if self.unreached:
            return self._reached()
        every = [(median(_numbers(rows)), name, rows) for name, rows in self.cells
                 if _numbers(rows)]  # fmt: skip
        fewer = [(name, steps) for _, name, rows in every if (steps := self._few_steps(rows))]
        medians = [each for each in every if not self._few_steps(each[2])] or every
        words = self.words[0].upper() + self.words[1:]
        lacking = sum(row["value"] is None for _, rows in self.cells for row in rows)
        total = sum(len(rows) for _, rows in self.cells)
        without = f" {counted(lacking, 'run')} of {total:,} without a value." if lacking else ""
        if fewer and len(medians) < len(every) and self.ladder is None:
            told = ", ".join(f"{name} ({counted(steps, 'step')})" for name, steps in fewer)
            without += f" Not compared, since trained for far fewer steps: {told}."
        if len(medians) == 1:
            return f"{words}: {self._spread(medians[0][2])}.{without}"
        medians.sort(key=lambda each: each[0], reverse=self._better() == "higher")
        (_, best, rows), (_, worst, others) = medians[0], medians[-1]
        first, last = ("highest", "lowest") if self._better() == "higher" else ("lowest", "highest")
        measure = parse_measure(self.measure)
        if is_step(measure):
            first, last = (
                ("fewest", "most") if measure.function == "lag" else ("earliest", "latest")
            )
        return (
            f"{words}: {first} with {best}, {self._spread(rows, alone=False)}; {last} with "
            f"{worst}, {self._spread(others)}.{without}"
        )

    def _few_steps(self, rows: Sequence[Mapping[str, Any]]) -> int | None:
        """The steps of a variant that was trained for far fewer than the others; else None."""
        keys = self.record.definition["grid"]
        return self.short.get(cell_key({key: rows[0][key] for key in keys}))

    def _spread(self, rows: Sequence[Mapping[str, Any]], *, alone: bool = True) -> str:
        """The values of a variant, with their unit: the median and the range over its seeds.

        Args:
            rows: The runs of the variant.
            alone: Whether to say which summary it is.
        """
        values = _numbers(rows)
        measure = parse_measure(self.measure)
        before = after = ""
        if measure.function == "lag":
            after = " steps"
        elif is_step(measure):
            before = "step "
        if len(values) == 1:
            return f"{before}{number(values[0])}{after}" + (" (one run)" if alone else "")
        low, high = number(min(values)), number(max(values))
        inside = "" if low == high else f" [{low}, {high}]"
        seeds = f" (median and range of {counted(len(values), 'seed')})" if alone else ""
        return f"{before}{number(median(values))}{inside}{after}{seeds}"

    def _reached(self) -> str:
        """How many runs reached the step, before anything else is said of it."""
        counts = [
            (name, len(_numbers(rows)), sum(r["not_before"] is not None for r in rows))
            for name, rows in self.cells
        ]
        reached = sum(some for _, some, _ in counts)
        missed = sum(never for *_, never in counts)
        words = self.words[0].upper() + self.words[1:]
        text = f"{words}: reached by {reached} of {counted(reached + missed, 'run')}"
        if len(counts) == 1:
            rows = self.cells[0][1]
            return f"{text}, {self._spread(rows)} where reached." if reached else f"{text}."
        none = [name for name, some, never in counts if never and not some]
        part = [f"{some} of {some + never} with {name}" for name, some, never in counts
                if some and never]  # fmt: skip
        every = [name for name, some, never in counts if some and not never]
        said = [
            _listed("all with", every),
            _listed("", part, f"some in {len(part)} variants"),
            _listed("none with", none),
        ]
        return f"{text}: {'; '.join(each for each in said if each)}."

    def decided(self) -> list[str]:
        """The largest decided difference of each setting, or the relation to it."""
        if self.ladder is not None:
            return self.ladder.sentences()
        if self.effects is None:
            return []
        found = []
        for key in self.effects.of:
            law = next((each for each in self.effects.scalings if each.key == key), None)
            if law is not None and law.best is not None and law.best.holds:
                found.append(scaling_sentence(law))
                continue
            told = [each for each in self.effects.factorial
                    if each.key == key and each.verdict == "differs"]  # fmt: skip
            if told:
                found.append(comparison_in_words(max(told, key=_largest), self.effects))
        return found

    def negative(self) -> list[str]:
        """What was shown to make no difference that matters; empty unless all comparisons do."""
        if self.effects is None:
            return []
        tested = self.effects.factorial
        if not all(each.verdict.startswith("equivalent") for each in tested):
            return []
        return [comparison_in_words(each, self.effects) for each in tested]

    def needed(self) -> str:
        """That nothing is decided, and about how many more seeds would decide it."""
        tested = () if self.effects is None else self.effects.factorial
        if not tested:
            return ""
        seeds = max(each.seeds for each in tested)
        if seeds < 2:
            return "Not yet decided: one seed says nothing about chance; begin with 3 more."
        wanted = [each.seeds_to_detect for each in tested if each.seeds_to_detect is not None]
        more = min(wanted, default=0) - seeds
        if not 0 < more <= _MOST:
            return "Not yet decided whether any setting makes a difference."
        return (
            f"Not yet decided: about {counted(more, 'more seed')} would show the clearest "
            "difference, if it is as large as it seems."
        )

    def _better(self) -> str | None:
        measure = parse_measure(self.measure)
        if is_step(measure):
            return "lower"
        if measure.function in VALUES:
            return measure.direction or column_direction(self.record, measure.column)
        return None


def comparison_in_words(each: Comparison, effects: Effects) -> str:
    """A comparison as a sentence, with the measure and the setting's values in words."""
    text = comparison_sentence(each, measure_words(effects.measure))
    name, alone = short_keys(list(effects.base))[each.key], len(effects.base) == 1
    one, other = (setting_name(name, value, alone) for value in (each.value, each.reference))
    return text.replace(f"{each.key}={each.value} vs {each.reference}", f"{one} vs {other}", 1)


def _numbers(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["value"] for row in rows if row["value"] is not None]


def _listed(before: str, names: Sequence[str], short: str = "") -> str:
    """Some names in a list; beyond four, their number."""
    if not names:
        return ""
    if len(names) > 4:
        return short or f"{before.removesuffix(' with')} in {len(names)} variants"
    return f"{before} {'; '.join(names)}".strip()


def _largest(each: Comparison) -> float:
    """The size of a difference, on its scale."""
    difference = each.difference or 0.0
    if each.scale == "ratio":
        return abs(math.log(difference)) if difference > 0 else 0.0
    return abs(difference)


def _is_held_equivalence(verdict: Verdict) -> bool:
    """Whether an expectation of no difference that matters was tested and held."""
    return verdict.outcome == "held" and " is the same" in verdict.sentence


def _judged(verdict: Verdict) -> str:
    """A verdict as the first sentence of an entry."""
    late = ", written after results had been seen" if verdict.late else ""
    claim = verdict.claim.removesuffix(".")
    return f"{verdict.state.capitalize()}{late}: {claim} ({verdict.evidence})."


def _tally(judged: Sequence[Verdict]) -> str:
    """How many expectations held, failed, are undecided and were not tested; empty without any."""
    if not judged:
        return ""
    return f"Of {counted(len(judged), 'expectation')}: {tally([each.state for each in judged])}."
