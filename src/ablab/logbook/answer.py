"""The first sentence of an entry: it answers the question in the heading, or says what is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ablab.config.wording import counted
from ablab.experiments.measures import parse_measure
from ablab.logbook.effect_words import (
    comparison_in_words,
    size_of_difference,
    trends_in_words,
)
from ablab.logbook.ladder import Ladder, find_ladder
from ablab.logbook.ranking import Ranking, find_ranking
from ablab.logbook.variant_values import MeasuredVariants, VariantValues, variant_values
from ablab.read.curves.numbers import number
from ablab.read.effects import Effects, scaling_sentence
from ablab.read.family import Family, family, tally
from ablab.read.measure_words import measure_words
from ablab.read.measures import ENDED, is_step
from ablab.read.medians import spread_words
from ablab.read.short_variants import caveat
from ablab.read.verdicts import Verdict
from ablab.store.store import ExperimentRecord, RunRecord

State = Literal["answered", "open", "unfinished", "nothing"]
_FEW = 3  # so many expectations about the measure are the answer; more are counted
_LISTED = 4  # so many variants have their values in the first sentence
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
        ranking: The best variant, compared with each other one; None if nothing can be compared.
        ranked: Whether the sentences say what the ranking shows.
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
    ranking: Ranking | None = None
    ranked: bool = False


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
    measure: str,
    values: pl.DataFrame | None,
    effects: Effects | None,
) -> Answer:
    """The answer to an experiment's question.

    Args:
        record: The experiment.
        runs: Its runs.
        judged: The verdicts on its expectations.
        measure: The measure that the answer is about.
        values: The measure of each run, as :func:`ablab.read.measures.measure_table` gives it; None
            if it was not logged.
        effects: The effects of the grid's settings on the measure; None without a grid.
    """
    declared = answer_measure(record)
    open_runs = sum(run.status not in ENDED for run in runs)
    ladder = None
    if values is not None and not open_runs:
        ladder = find_ladder(record, runs, measure, values)
    found = None if values is None else variant_values(record, measure, values, runs)
    ranking = None
    if values is not None and found is not None and not open_runs:
        ranking = find_ranking(record, found, values)
    made = _Made(measure, found, effects, ladder, ranking)

    def answer(state: State, *sentences: str, negative: Sequence[str] = ()) -> Answer:
        said, known = [each for each in sentences if each], declared is not None
        return Answer(
            state, said, measure, made.words, known, list(negative), values, effects, ladder,
            ranking, ranking is not None and not made.leads_with_counts,
        )  # fmt: skip

    if open_runs:
        ended = counted(len(runs) - open_runs, "run")
        return answer(
            "unfinished",
            f"Nothing is concluded yet: {ended} of {len(runs):,} "
            f"{'has' if len(runs) - open_runs == 1 else 'have'} ended.",
        )
    if values is None or not made.variants:
        return answer("nothing", f"No answer: no run has a value of {measure}.")
    counts = _tally(judged)
    mine = [each for each in judged if each.sentence.startswith(f"{measure} ")]
    alike = [f"{each.claim} ({each.evidence})" for each in mine if _is_held_equivalence(each)]
    lead, decided = made.lead(), made.decided()
    every, places = family(judged), {id(each): place for place, each in enumerate(judged)}
    tested = [each for each in mine if each.state != "not tested"]
    untested: list[str] = []  # as where a setting does not vary in this grid; these cannot lead
    if len(mine) <= _FEW:
        rest = [each for each in mine if each.state == "not tested"]
        untested = [_judged(each, every, places[id(each)]) for each in rest]
    if 1 <= len(tested) <= _FEW:
        tested.sort(key=lambda each: each.outcome == "undecided")
        state: State = "open" if tested[0].outcome == "undecided" else "answered"
        more = counts if len(judged) > len(mine) else ""
        negative = alike if len(alike) == len(mine) else []
        said = [_judged(each, every, places[id(each)]) for each in tested]
        return answer(state, *said, lead, *untested, more, negative=negative)
    if len(made.variants) < 2 or decided or made.tells_the_best:
        first = [lead, *decided] if ladder is None else [*decided, lead]
        return answer("answered", *first, *untested, counts)
    negative = made.negative()
    if negative:
        return answer("answered", lead, *negative, *untested, counts, negative=negative)
    return answer("open", lead, made.needed(), *untested, counts)


@dataclass(frozen=True)
class _Made:
    """The values of a measure, and what can be said of them."""

    measure: str
    found: MeasuredVariants | None
    effects: Effects | None
    ladder: Ladder | None
    ranking: Ranking | None

    @property
    def words(self) -> str:
        return measure_words(self.measure)

    @property
    def variants(self) -> list[VariantValues]:
        """The variants of which a run has a value, or did not reach the step."""
        return [] if self.found is None else [row for row in self.found.variants if row.runs]

    @property
    def compared(self) -> list[VariantValues]:
        """Those that were not trained for far fewer steps than the others, if there are any."""
        return [row for row in self.variants if row.few_steps is None] or self.variants

    @property
    def leads_with_counts(self) -> bool:
        """Whether counts of runs are told first, and so neither medians nor the best variant."""
        return self.found is not None and (self.found.has_missed or self.found.cut is not None)

    @property
    def tells_the_best(self) -> bool:
        """Whether the values are told with a variant that is better than every other one."""
        decided = self.ranking is not None and self.ranking.is_decided
        return decided and not self.leads_with_counts and len(self.compared) > 1

    def lead(self) -> str:
        """The values: how many runs got there or learnt, or else the medians and the best one."""
        assert self.found is not None, "some run has a value"
        words = self.words[0].upper() + self.words[1:]
        rows, few = self.compared, [row for row in self.variants if row.few_steps is not None]
        without = self._without()
        if few and len(rows) < len(self.variants) and self.ladder is None:
            without += " " + caveat({row.name: row.few_steps or 0 for row in few})
        if self.leads_with_counts:
            return f"{words}: {self._counts(rows)}{without}"
        if len(rows) == 1:
            return f"{words}: {self._spread(rows[0])}.{without}"
        order, beyond = self._order()
        medians = [row.median for row in rows if row.median is not None]
        if self.ranking is not None and self.tells_the_best:
            best = self.ranking.best
            last = (min if beyond in ("lowest", "fewest", "earliest") else max)(medians)
            least = "up to" if beyond != "lowest" else "down to"
            others = f"the difference from each of the {len(rows) - 1} others is decided"
            if len(rows) == 2:
                others, least = "the difference from the other is decided", "whose median is"
            else:
                least = f"with medians {least}"
            return (
                f"{words}: {order} with {best.name}, {self._spread(best)}; {others}, {least} "
                f"{number(last)}.{without}"
            )
        few_rows = len(rows) <= _LISTED
        over = f"from {number(min(medians))} to {number(max(medians))} over {len(rows)} variants"
        subject = "It" if few_rows else words
        sweeps = [] if self.effects is None else trends_in_words(self.effects, subject, shown=False)
        if sweeps and not few_rows:
            return f"{' '.join(sweeps)} Medians are {over}.{without}"
        text = f"{words}: {self._listed(rows) if few_rows else f'medians {over}'}."
        if sweeps:
            text += f" {' '.join(sweeps)}"
        elif self.ranking is not None:
            text += " " + self.ranking.open_words(order)
        return text + without

    def _listed(self, rows: Sequence[VariantValues]) -> str:
        """The values of each variant; how many runs they are of, once if it is the same for all."""
        each = [f"{self._spread(row, alone=False)} with {row.name}" for row in rows]
        seeds = {len(row.values) for row in rows}
        if len(seeds) == 1:
            summary = "one run each" if seeds == {1} else _summary(seeds.pop())
            return f"{'; '.join(each)} ({summary})"
        counts = ["one run" if n == 1 else f"{n} seeds" for n in (len(row.values) for row in rows)]
        told = [f"{text} ({count})" for text, count in zip(each, counts, strict=True)]
        return f"{'; '.join(told)}; medians and ranges"

    def _without(self) -> str:
        lacking = sum(sum(row.lost.values()) for row in self.found.variants) if self.found else 0
        total = sum(row.runs for row in self.variants) + lacking
        return f" {counted(lacking, 'run')} of {total:,} without a value." if lacking else ""

    def _order(self) -> tuple[str, str]:
        """What the best value is called, and the worst."""
        assert self.found is not None, "some run has a value"
        if self.found.steps:
            lag = parse_measure(self.measure).function == "lag"
            return ("fewest", "most") if lag else ("earliest", "latest")
        return ("highest", "lowest") if self.found.better == "higher" else ("lowest", "highest")

    def _spread(self, row: VariantValues, *, alone: bool = True) -> str:
        """The values of a variant, with their unit: the median and the range over its seeds.

        Args:
            row: The variant.
            alone: Whether to say which summary it is.
        """
        measure, count = parse_measure(self.measure), len(row.values)
        before = after = ""
        if measure.function == "lag":
            after = " steps"
        elif is_step(measure):
            before = "step "
        seeds = f" ({_summary(count)})" if alone else ""
        return f"{before}{spread_words(row.values, number)}{after}{seeds}"

    def _counts(self, rows: Sequence[VariantValues]) -> str:
        """How many runs of variants reached the step, or learnt, before all else is said of it."""
        assert self.found is not None, "some run has a value"
        counts = [(row.name, *_count(row)) for row in rows]
        done, runs = sum(some for _, some, _ in counts), sum(every for *_, every in counts)
        text = f"{done} of {counted(runs, 'run')} {self.found.said}"
        if self.found.has_missed:
            text = f"reached by {done} of {counted(runs, 'run')}"
        elif self.found.better is not None and self.found.cut is not None:
            side = "above" if self.found.better == "higher" else "below"
            text += f" ({side} {self.found.cut:.3g})"
        if len(counts) == 1:
            row = rows[0]
            if not done:
                return f"{text}."
            if not self.found.has_missed:
                return f"{text}, with {spread_words(row.learnt or row.values, number)}."
            return f"{text}, {self._spread(row)} where reached."
        none = [name for name, some, every in counts if not some and every]
        part = [f"{some} of {every} with {name}" for name, some, every in counts
                if 0 < some < every]  # fmt: skip
        every_run = [name for name, some, every in counts if some == every and some]
        said = [
            _listed("all with", every_run),
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
                found.append(comparison_in_words(max(told, key=size_of_difference), self.effects))
        words = self.words[0].upper() + self.words[1:]
        return found + trends_in_words(self.effects, words, shown=True)

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
        if self.effects is None or self.effects.seeds < 2:
            return "Not yet decided: one seed says nothing about chance; begin with 3 more."
        if self.ranking is not None and len(self.compared) == 2 and not self.ranking.is_decided:
            if self.leads_with_counts:
                return self.ranking.open_words(self._order()[0])
            return ""  # said with the values
        seeds = max(each.seeds for each in tested)
        wanted = [each.seeds_to_detect for each in tested if each.seeds_to_detect is not None]
        more = min(wanted, default=0) - seeds
        if not 0 < more <= _MOST:
            return "Not yet decided whether any setting makes a difference."
        return (
            f"Not yet decided: about {counted(more, 'more seed')} would show the clearest "
            "difference, if it is as large as it seems."
        )


def _summary(count: int) -> str:
    """What the values of so many runs are."""
    return "one run" if count == 1 else f"median and range of {count} seeds"


def _count(row: VariantValues) -> tuple[int, int]:
    """How many runs of a variant learnt or got there, and of how many."""
    return row.count or (len(row.values), row.runs)


def _listed(before: str, names: Sequence[str], short: str = "") -> str:
    """Some names in a list; beyond four, their number."""
    if not names:
        return ""
    if len(names) > 4:
        return short or f"{before.removesuffix(' with')} in {len(names)} variants"
    return f"{before} {'; '.join(names)}".strip()


def _is_held_equivalence(verdict: Verdict) -> bool:
    """Whether an expectation of no difference that matters was tested and held."""
    return verdict.outcome == "held" and " is the same" in verdict.sentence


def _judged(verdict: Verdict, every: Family, place: int) -> str:
    """A verdict as the first sentence of an entry.

    Args:
        verdict: The verdict.
        every: All verdicts, of which it is one. If it is not decided after the correction for all
            of them, the sentence begins with that.
        place: Its place among them.
    """
    late = ", written after results had been seen" if verdict.late else ""
    claim = verdict.claim.removesuffix(".")
    adjusted = every.adjusted[place]
    but = ""
    if every.lost[place] and adjusted is not None:
        but = (
            f" by itself (p = {verdict.p:.2g}), but not after correction for all {every.tested} "
            f"tests (p = {adjusted:.2g})"
        )
    return f"{verdict.state.capitalize()}{but}{late}: {claim} ({verdict.evidence})."


def _tally(judged: Sequence[Verdict]) -> str:
    """How many expectations held, failed, are undecided and were not tested; empty without any."""
    if not judged:
        return ""
    return f"Of {counted(len(judged), 'expectation')}: {tally([each.state for each in judged])}."
