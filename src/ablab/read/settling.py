"""Questions that are settled by adding seeds: what each look shows, and where more are needed.

An experiment with ``seeds: {from: 3, to: 40}`` trains in rounds. After a round, each question is
looked at with the seeds so far, at the level of that look (``statistics.looks``). A question that
is held or failed stays so: it is told with the seeds of that look, however many more others need.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from ablab.config import InputError, Problem, counted
from ablab.experiments.expectations import Expectation
from ablab.experiments.seeds import Settling, most_seeds, settling_of
from ablab.read.by_outcome import OUTCOME
from ablab.read.effects.compare import Comparison
from ablab.read.effects.report import Effects
from ablab.read.effects.sentences import comparison_sentence
from ablab.read.effects.stored import default_measure, effects_of_frame
from ablab.read.effects.trends import Trend, trend_sentence
from ablab.read.judgements import Found, Outcome
from ablab.read.judging import concerned, judge_frame, measure
from ablab.read.measures import ENDED, measure_table
from ablab.read.statistics.looks import Looks
from ablab.store.expected import stamped
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store

State = Literal["settled", "given up", "at the limit", "open", "no test"]
"""What became of a question; ``no test``: no number of seeds can settle it."""

_NEVER = "no number of seeds can settle this"
_ENOUGH = 5  # seeds, before a question is given up


@dataclass(frozen=True)
class Question:
    """A question of an experiment that adds seeds, as far as it is settled.

    Attributes:
        text: The question.
        found: What the last look showed.
        state: What became of it.
        seeds: The number of seeds of that look; 0 before the first.
        p: The p-value for all looks so far; None if nothing was tested.
        wanted: The number of seeds that it needs next; 0 if it needs no more.
        runs: The runs that it is about.
        said: What is said of the looks.
        is_effect: Whether it is a comparison or a trend, not an expectation.
    """

    text: str
    found: Found
    state: State
    seeds: int
    p: float | None
    wanted: int
    runs: tuple[str, ...]
    said: str
    is_effect: bool = False

    @property
    def answer(self) -> str:
        """``held``, ``failed`` or ``undecided``; of an effect ``differs`` or ``undecided``."""
        if self.is_effect and self.found.outcome == "held":
            return "differs"
        return self.found.outcome

    @property
    def p_text(self) -> str:
        """The p-value for all looks with two digits; empty if nothing was tested."""
        return "" if self.p is None else f"{self.p:.2g}"

    def as_data(self) -> dict[str, Any]:
        """The question as plain data."""
        return {
            "question": self.text,
            "answer": self.answer,
            "state": self.state,
            "seeds": self.seeds,
            "p": self.p,
            "value": self.found.value,
            "interval": self.found.interval,
            "evidence": self.told.evidence,
        }

    @property
    def told(self) -> Found:
        """What is found, with the p-value for all looks, and what is said of them."""
        return replace(self.found, evidence=f"{self.found.evidence}; {self.said}", p=self.p)


@dataclass(frozen=True)
class Progress:
    """The questions of an experiment that adds seeds.

    Attributes:
        questions: The questions: its expectations, or else its effects.
        wanted: The number of seeds that variants need next, by the place of the variant in the
            grid; without those that need no more.
        settling: How seeds are added.
        earlier: Other limits that the same experiment had in this store; see
            :func:`earlier_limits`.
    """

    questions: tuple[Question, ...]
    wanted: dict[int, int]
    settling: Settling
    earlier: tuple[int, ...] = ()

    @property
    def about(self) -> str:
        """How seeds are added, and how far the questions are settled."""
        numbers = Looks(self.settling.first, self.settling.last).numbers
        first = ", ".join(map(str, numbers[:4])) + (", …" if len(numbers) > 4 else "")
        return (
            f"Each variant begins with {numbers[0]} seeds, and up to {numbers[-1]} are added in "
            f"rounds ({first}) where a question is open. After each round, the questions are "
            "looked at, at a level that keeps the chance of a false verdict at 5% for all looks at "
            f"a question together.{self._warning} Now {self.sentence}."
        )

    @property
    def _warning(self) -> str:
        if not self.earlier:
            return ""
        others = " and ".join(map(str, self.earlier))
        return (
            f" The same was settled with seeds up to {others} before, and each limit has 5% of its "
            "own: a limit that is raised after results can make false verdicts more frequent."
        )

    def table(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """A header, and a row for each question."""
        rows = [
            (each.text, each.answer, each.state, each.seeds, each.p_text, each.found.evidence)
            for each in self.questions
        ]
        return ["question", "answer", "state", "seeds", "p", "found"], rows

    def as_data(self) -> list[dict[str, Any]]:
        """The questions as plain data."""
        return [each.as_data() for each in self.questions]

    @property
    def sentence(self) -> str:
        """How many questions are settled, and what comes next."""
        states = [each.state for each in self.questions]
        done = f"{states.count('settled')} of {counted(len(states), 'question')} settled"
        others = [
            f"{states.count(state)} {state}"
            for state in ("given up", "at the limit", "no test")
            if state in states
        ]
        told = ", ".join([done, *others])
        if not self.wanted:
            return f"{told}; no more seeds are needed"
        most = max(self.wanted.values())
        go_on = "continues" if len(self.wanted) == 1 else "continue"
        return f"{told}; {counted(len(self.wanted), 'variant')} {go_on} with {most} seeds"


def questions_of(store: Store, record: ExperimentRecord) -> Progress:
    """What is settled of an experiment that adds seeds, and which variants need more.

    Raises:
        InputError: It has neither expectations nor a grid, or its answer was not logged.
    """
    stamps = stamped(store, record)
    if stamps:
        questions = [_stamped(store, record, each.expectation) for each in stamps]
    else:
        questions = list(_settle_effects(store, record))
    most = most_seeds(record.definition)
    places = {row["run"]: row["position"] // most for row in store.members(record.id)}
    wanted: dict[int, int] = {}
    for question in questions:
        for place in {places[run] for run in question.runs} if question.wanted else ():
            wanted[place] = max(wanted.get(place, 0), question.wanted)
    return Progress(tuple(questions), wanted, _settling(record), earlier_limits(store, record))


def _stamped(store: Store, record: ExperimentRecord, expectation: Expectation) -> Question:
    """How far an expectation is settled; one whose measure was not logged has no test."""
    try:
        frame = measure(store, record, expectation)
    except StoreError:  # damaged data do not say that there is nothing to settle
        raise
    except InputError as error:
        found = Found("undecided", error.problems[0].message)
        return Question(expectation.text, found, "no test", 0, None, 0, (), _NEVER)
    return settle_expectation(store, record, expectation, frame)


def earlier_limits(store: Store, record: ExperimentRecord) -> tuple[int, ...]:
    """The other limits of seeds with which an experiment of the same name and grid was settled.

    Its questions were looked at with those limits, too.
    """
    own = record.definition
    found = set()
    for each in store.experiments():
        other = settling_of(each.definition)
        alike = each.name == record.name and each.definition["grid"] == own["grid"]
        if alike and other is not None and other.last != most_seeds(own):
            found.add(other.last)
    return tuple(sorted(found))


def settle_expectation(
    store: Store, record: ExperimentRecord, expectation: Expectation, frame: pl.DataFrame
) -> Question:
    """How far an expectation of an experiment that adds seeds is settled.

    Args:
        store: The store.
        record: The experiment.
        expectation: The expectation.
        frame: Its measured runs; see :func:`ablab.read.judging.measure`.
    """
    settling = _settling(record)

    def look(runs: pl.DataFrame, alpha: float) -> Found:
        return judge_frame(store, record, expectation, runs, alpha)

    about = concerned(record, expectation, frame)
    sides = 1 if expectation.relation == "same_as" else 2
    return _look(expectation.text, frame, about, settling, look, sides)


def _settling(record: ExperimentRecord) -> Settling:
    found = settling_of(record.definition)
    assert found is not None, "checked by the caller"
    return found


def _look(
    text: str,
    frame: pl.DataFrame,
    about: pl.DataFrame,
    settling: Settling,
    judge: Callable[[pl.DataFrame, float], Found],
    sides: int,
) -> Question:
    """Looks at a question with more and more seeds, as far as there are runs.

    Args:
        text: The question.
        frame: All measured runs.
        about: The runs that it is about.
        settling: How seeds are added.
        judge: What some runs show at a level.
        sides: Whether its test is one- or two-sided.
    """
    looks = Looks(settling.first, settling.last)
    runs = tuple(about["run"].to_list())
    keys = [name for name in frame.columns if name not in _MEASURED]
    tests: list[float | None] = []
    found = Found("undecided", "no seed has ended yet")
    if about.is_empty():
        found = judge(frame, looks.levels[0])
        return Question(text, found, "no test", 0, None, 0, runs, _NEVER)
    variants = about.select(keys).unique().height if keys else 1
    for place, (seeds, alpha) in enumerate(zip(looks.numbers, looks.levels, strict=True)):
        here, mine = (each.filter(pl.col("seed") < seeds) for each in (frame, about))
        before = looks.numbers[place - 1] if place else 0
        if mine.height < seeds * variants or not here["status"].is_in(ENDED).all():
            p = looks.p_value(tests)
            return Question(text, found, "open", before, p, seeds, runs, _open(before, settling))
        found = judge(here, alpha)
        if found.outcome != "undecided" and not found.tested:
            found = _by_signs(found, seeds, alpha)
        tests.append(found.p)
        p = looks.p_value(tests)
        if found.outcome != "undecided":
            said = _settled(looks, place, p)
            return Question(text, found, "settled", seeds, p, 0, runs, said)
        if seeds == settling.last:
            said = f"not settled with {seeds} seeds, the most that were asked for"
            return Question(text, found, "at the limit", seeds, p, 0, runs, said)
        if found.p is not None and seeds >= _ENOUGH:
            chance = looks.chance(place, found.p, sides)
            if chance < settling.give_up:
                said = (
                    f"given up after {seeds} seeds: up to {settling.last}, they would settle this "
                    f"with a chance of {_percent(chance)}"
                )
                return Question(text, found, "given up", seeds, p, 0, runs, said)
    raise AssertionError("the last look ends it")


def _by_signs(found: Found, seeds: int, alpha: float) -> Found:
    """The outcome of values that are equal for all seeds, and so have no interval: a sign test."""
    p = 0.5**seeds
    if p < alpha:
        return replace(found, p=p)
    text = f"{found.evidence}; of {seeds} equal values the sign test gives p = {p:.2g}"
    return replace(found, outcome="undecided", evidence=text, p=p)


_MEASURED = ("run", "seed", "value", "not_before", "reason", "status", OUTCOME)


def _settled(looks: Looks, place: int, p: float | None) -> str:
    seeds, level = looks.numbers[place], looks.levels[place]
    if place == 0:
        return f"settled at the first look, with {seeds} seeds, at the {level:.2%} level"
    shown = "" if p is None else f", p = {p:.2g} for all looks"
    return f"settled at look {place + 1}, with {seeds} seeds, at the {level:.2%} level{shown}"


def _open(seeds: int, settling: Settling) -> str:
    if not seeds:
        return f"not looked at before {settling.first} seeds have ended"
    return f"not settled yet with {seeds} of up to {settling.last} seeds"


def _percent(chance: float) -> str:
    return "less than 1%" if chance < 0.01 else f"about {chance:.0%}"


def _settle_effects(store: Store, record: ExperimentRecord) -> list[Question]:
    """How far the effects of the settings are settled, for an experiment without expectations.

    A question is a comparison of a value with the base value, or a trend; its p-value is corrected
    for the number of questions.
    """
    settling = _settling(record)
    if not record.definition["grid"]:
        raise InputError(
            Problem(
                f"{record.name} has no question that seeds could settle", "expect",
                expected="expectations (expect:), or a grid of at least two variants",
            )
        )  # fmt: skip
    asked, frame = default_measure(store, record)
    whole = measure_table(store, record, asked) if frame is None else frame
    made: dict[int, Effects] = {}

    def effects(runs: pl.DataFrame) -> Effects:
        if runs.height not in made:
            made[runs.height] = effects_of_frame(store, record, asked, runs)
        return made[runs.height]

    def look(name: str) -> Callable[[pl.DataFrame, float], Found]:
        return lambda runs, alpha: _effect(effects(runs), name, alpha)

    first = effects(whole.filter(pl.col("seed") < settling.first))
    found = []
    for each in first.factorial:
        name = _comparison(each)
        sides = [each.value, each.reference]
        about = whole  # of settings that vary together, all runs
        if each.key in whole.columns:
            is_side = [pl.col(each.key).eq_missing(pl.lit(side)) for side in sides]
            about = whole.filter(pl.any_horizontal(is_side))
        made_of = _look(name, whole, about, settling, look(name), 2)
        found.append(replace(made_of, is_effect=True))
    for trend in first.trends:
        name = _trend(trend)
        made_of = _look(name, whole, whole, settling, look(name), 2)
        found.append(replace(made_of, is_effect=True))
    return found


def _effect(effects: Effects, name: str, alpha: float) -> Found:
    """What is shown of one comparison or trend, by its name."""
    for each in effects.factorial:
        if _comparison(each) == name:
            p, told = each.p_adjusted, comparison_sentence(each, effects.measure)
            value, interval = each.difference, each.interval
            break
    else:
        trend = next((each for each in effects.trends if _trend(each) == name), None)
        if trend is None:
            return Found("undecided", "these seeds show no such comparison")
        p, told = trend.p_adjusted, trend_sentence(trend, effects.measure)
        value, interval = trend.correlation, None
    outcome: Outcome = "held" if p is not None and p < alpha else "undecided"
    return Found(outcome, told.removesuffix("."), value, interval, p)


def _comparison(each: Comparison) -> str:
    return f"{each.key}={each.value} vs {each.reference}"


def _trend(each: Trend) -> str:
    return f"trend over {each.key}"
