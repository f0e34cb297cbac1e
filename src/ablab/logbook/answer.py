"""The first sentence of an entry: it answers the question in the heading, or says what is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ablab.config.wording import counted
from ablab.logbook.answer_values import AnswerValues
from ablab.logbook.ladder import Ladder, find_ladder
from ablab.logbook.ranking import Ranking, find_ranking
from ablab.logbook.variant_values import variant_values
from ablab.read.effects import Effects
from ablab.read.family import Family, family, tally
from ablab.read.measures import ENDED
from ablab.read.paused import paused_words
from ablab.read.verdicts import Verdict
from ablab.store.store import ExperimentRecord, RunRecord

State = Literal["answered", "open", "unfinished", "nothing"]
_FEW = 3  # so many expectations about the measure are the answer; more are counted


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
    paused = paused_words(values)
    made = AnswerValues(measure, found, effects, None if paused else ladder, ranking, paused)

    def answer(state: State, *sentences: str, negative: Sequence[str] = ()) -> Answer:
        said, known = [each for each in sentences if each], declared is not None
        return Answer(
            state, said, measure, made.words, known, list(negative), values, effects, made.ladder,
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
    is_open = bool(paused) and not decided  # what was paused may be the best
    one = len(made.variants) < 2
    if not is_open and (one or decided or made.tells_the_best or made.depends):
        first = [lead, *decided] if ladder is None else [*decided, lead]
        return answer("answered", *first, *untested, counts)
    negative = [] if is_open else made.negative()
    if negative:
        return answer("answered", lead, *negative, *untested, counts, negative=negative)
    return answer("open", lead, "" if is_open else made.needed(), *untested, counts)


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
    claim = " ".join(verdict.claim.split()).removesuffix(".")
    adjusted = every.adjusted[place]
    but = ""
    if every.lost[place] and adjusted is not None:
        but = (
            f" by itself (p = {verdict.p:.2g}), but not after correction for all {every.tested} "
            f"tests (p = {adjusted:.2g})"
        )
    brackets = "; 95% interval in brackets" if "[" in verdict.evidence else ""
    return f"{verdict.state.capitalize()}{but}{late}: {claim} ({verdict.evidence}{brackets})."


def _tally(judged: Sequence[Verdict]) -> str:
    """How many expectations held, failed, are undecided and were not tested; empty without any."""
    if not judged:
        return ""
    return f"Of {counted(len(judged), 'expectation')}: {tally([each.state for each in judged])}."
