"""The findings of an experiment as sentences: readings, effects, spikes and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablab.config import InputError, counted
from ablab.experiments.seeds import settling_of
from ablab.experiments.short_names import short_names
from ablab.logbook.answer import Answer, answer_measure, find_answer
from ablab.logbook.effect_words import comparison_in_words, interaction_in_words, trends_in_words
from ablab.logbook.shown_variants import ShownVariants, shown_variants
from ablab.logbook.variant_values import MeasuredVariants, variant_values
from ablab.read.curves import Reading
from ablab.read.curves.numbers import number
from ablab.read.curves.pair_sentences import group_pair_sentence, pair_sentence
from ablab.read.curves.sentences import common_plateaus, group_sentence, plateau_ends, sentence
from ablab.read.curves.together import Together
from ablab.read.effects import (
    Comparison,
    Effects,
    scaling_sentence,
    verdict_words,
)
from ablab.read.effects.stored import default_measure, experiment_effects
from ablab.read.family import family, remarks
from ablab.read.halving_report import HalvingReport, halving_report
from ablab.read.measure_words import measure_words
from ablab.read.measured import shown
from ablab.read.measures import ENDED, measure_table
from ablab.read.medians import spread_words
from ablab.read.pairs import experiment_pairs
from ablab.read.readings import experiment_readings
from ablab.read.settling import Progress, questions_of
from ablab.read.spikes import Explanation, explain
from ablab.read.stopped import paused_at_rungs
from ablab.read.verdicts import Verdict, verdicts
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, RunRecord, Store

_ENDED = ("finished", "stopped")
_EXPLAINED = 8  # maximum number of runs whose spikes are explained, highest spikes first


@dataclass(frozen=True)
class Conclusions:
    """The findings of an experiment.

    Attributes:
        readings: The reading of each run's training loss, by run id.
        variants: For each variant that is shown, its short name, its reading as text, and for each
            seed the run id, the seed and the reading as text.
        effects: The effects of the grid's settings, one item per measure.
        spikes: Explanations of the spikes of some runs.
        verdicts: The verdicts on expectations.
        settled: The questions of an experiment that adds seeds; None if its seeds are fixed.
        halving: What halving decided; None for an experiment without it.
        answer: The answer to the question.
        sentences: Further findings, with their numbers.
        measured: The answer's measure of all variants; None if it was not logged.
        shown: The variants that are shown one by one.
    """

    readings: dict[str, Reading]
    variants: list[tuple[str, str, list[tuple[str, int, str]]]]
    effects: list[Effects]
    spikes: list[Explanation]
    verdicts: list[Verdict]
    settled: Progress | None
    halving: HalvingReport | None
    answer: Answer
    sentences: list[str]
    measured: MeasuredVariants | None
    shown: ShownVariants

    @property
    def judged(self) -> list[tuple[Verdict, str]]:
        """The verdicts, each with its p-value before and after the correction for all of them."""
        return list(zip(self.verdicts, remarks(self.verdicts), strict=True))

    @property
    def chance(self) -> str:
        """How many of the verdicts chance alone would give; empty if none was tested."""
        return family(self.verdicts).sentence("expectation")

    def digest(self) -> dict[str, Any]:
        """The part that ``LOGBOOK.md`` needs, as plain data."""
        return {
            "negative": self.answer.negative,
            "sentences": self.answer.sentences[:2],
            "verdicts": [each.as_data() for each in self.verdicts],
        }


def find(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
) -> Conclusions:
    """Collects the findings of an experiment, which may still be running."""
    readings = experiment_readings(store, record, runs)
    done = all(run.status in ENDED for run in runs)
    effects = _effects(store, record, runs, readings) if done else []
    spikes = _explanations(store, record, runs, readings)
    judged = verdicts(store, record)
    answer = _answer(store, record, runs, judged, effects)
    sentences = [
        *_compared(effects[:1], answer),
        *(_levels(record, runs, readings) if done else []),
        *(_spiky(runs, readings, spikes) if done else []),
        *_troubled(runs),
    ]
    measured, shown = shown_in_entry(record, runs, answer)
    return Conclusions(
        readings,
        _variants(shown.runs, readings, experiment_pairs(store, record, shown.runs)),
        effects,
        spikes,
        judged,
        None if settling_of(record.definition) is None else questions_of(store, record),
        halving_report(store, record),
        answer,
        sentences,
        measured,
        shown,
    )


def shown_in_entry(
    record: ExperimentRecord, runs: Sequence[RunRecord], answer: Answer | None
) -> tuple[MeasuredVariants | None, ShownVariants]:
    """The answer's measure of all variants, and the variants that are shown one by one.

    Until all runs have ended, the values decide nothing: a live page shows the same ones all along.

    Args:
        record: The experiment.
        runs: Its runs.
        answer: The answer; None where it is not needed, as there are few variants.
    """
    measured = None
    if answer is not None and answer.values is not None and answer.measure is not None:
        measured = variant_values(record, answer.measure, answer.values, runs)
    done = all(run.status in ENDED for run in runs)
    return measured, shown_variants(runs, measured if done else None)


def experiment_answer(store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]) -> Answer:
    """The answer to an experiment's question alone, as :func:`find` gives it, but sooner."""
    effects = []
    if record.definition["grid"] and all(run.status in ENDED for run in runs):
        try:
            effects = [experiment_effects(store, record, measure=answer_measure(record))]
        except StoreError:
            raise
        except InputError:  # nothing to compare
            effects = []
    return _answer(store, record, runs, verdicts(store, record), effects)


def _answer(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    judged: Sequence[Verdict],
    effects: Sequence[Effects],
) -> Answer:
    """The answer, from the effects on its measure or, without a grid, from its values."""
    measure, values = answer_measure(record) or (effects[0].measure if effects else None), None
    if measure is None:
        measure, values = default_measure(store, record)
    if values is None:
        try:
            values = measure_table(store, record, measure)
        except StoreError:
            raise
        except InputError:  # its column was not logged
            values = None
    mine = next((each for each in effects if each.measure == measure), None)
    return find_answer(record, runs, judged, measure, values, mine)


def _effects(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    readings: dict[str, Reading],
) -> list[Effects]:
    """The effects on the answer's measure, on the final loss, and on leaving common levels.

    A level is common if half of the runs stay at it.
    """
    if not record.definition["grid"] or not any(run.status in _ENDED for run in runs):
        return []
    measures: dict[str | None, None] = dict.fromkeys([answer_measure(record), None])
    if record.registration is not None and record.registration.answer is not None:
        del measures[None]  # by default, it is the answer
    for name in record.levels:
        at = [
            reading
            for reading in readings.values()
            if any(plateau.name == name for plateau in reading.plateaus)
        ]
        if len(at) >= len(runs) / 2:
            measures[f"leaves({name})"] = None
    found: dict[str, Effects] = {}
    for measure in measures:
        try:
            made = experiment_effects(store, record, measure=measure)
        except StoreError:
            raise
        except InputError:  # nothing to compare
            continue
        found.setdefault(made.measure, made)
    return list(found.values())


def _explanations(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    readings: dict[str, Reading],
) -> list[Explanation]:
    spiky = [run for run in runs if run.run in readings and readings[run.run].spikes]
    spiky.sort(key=lambda run: -max(spike.height for spike in readings[run.run].spikes))
    found = [explain(store, record, run, readings[run.run]) for run in spiky[:_EXPLAINED]]
    return [each for each in found if each is not None]


def _variants(
    runs: Sequence[RunRecord], readings: dict[str, Reading], pairs: dict[str, Together]
) -> list[tuple[str, str, list[tuple[str, int, str]]]]:
    cells = [run.variant for run in runs]
    names = dict(zip(map(str, cells), short_names(cells), strict=True))
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.run in readings:
            groups.setdefault(names[str(run.variant)], []).append(run)

    def of_run(run: str) -> str:
        text = pair_sentence(pairs[run]) if run in pairs else ""
        return "; ".join(filter(None, [sentence(readings[run]), text]))

    def of_group(members: list[RunRecord]) -> str:
        text = group_pair_sentence([pairs[run.run] for run in members if run.run in pairs])
        return "; ".join(filter(None, [group_sentence([readings[r.run] for r in members]), text]))

    return [
        (label, of_group(members), [(run.run, run.seed, of_run(run.run)) for run in members])
        for label, members in groups.items()
    ]


def _compared(effects: Sequence[Effects], answer: Answer) -> list[str]:
    """The decided comparisons, the number of undecided ones, interactions and relations.

    What the answer says already is left out.
    """
    sentences = []
    for found in effects:
        words = f"the {measure_words(found.measure)}"
        decided = [each for each in found.factorial if each.verdict != "undecided"]
        left = [each for each in found.factorial if each.verdict == "undecided"]
        sentences += [comparison_in_words(each, found) for each in decided]
        rest = len(left)
        said = answer.ranked and len(found.factorial) == 1
        if rest and answer.state != "open" and not said:
            sentences.append(
                f"{rest} of {counted(len(found.factorial), 'comparison')} of {words} "
                f"{'is' if rest == 1 else 'are'} undecided. This does not mean that the values are "
                f"equal{_seeds_words(left)}."
            )
        sentences += [
            interaction_in_words(each, found, words) for each in found.interactions if each.exists
        ]
        sentences += [
            scaling_sentence(each)
            for each in found.scalings
            if each.best is not None and each.best.holds
        ]
        words = measure_words(found.measure)
        words = words[0].upper() + words[1:]
        told = [*trends_in_words(found, words, shown=True)]
        told += trends_in_words(found, words, shown=False)
        answered = " ".join(answer.sentences)  # of the same measure as "it"
        sentences += [each for each in told if each.removeprefix(words) not in answered]
    return [each for each in sentences if each not in answer.sentences]


def _seeds_words(undecided: Sequence[Comparison]) -> str:
    """That the table says how many seeds are needed, if it does so."""
    known = sum("seeds would show" in verdict_words(each) for each in undecided)
    if not known:
        return ""
    where = "" if known == len(undecided) else ", where it can"
    return f"; the table estimates the number of seeds needed{where}"


def _levels(
    record: ExperimentRecord, runs: Sequence[RunRecord], readings: dict[str, Reading]
) -> list[str]:
    """The natural levels at which runs stay, with the number of runs and the last step."""
    known = [readings[run.run] for run in runs if run.run in readings]
    sentences = []
    told: dict[str, int] = {}  # how many runs are said never to leave a level
    for group in common_plateaus(known, least=1):
        name = group[0][1].name
        if name is None:
            continue
        ends = plateau_ends(known, group)
        told[name] = ends.never
        until = f", until step {ends.words('after', 'not left')}"
        remarks = ["median and range"] if ends.runs > 1 else []
        remarks += [f"{ends.never} never left it"] if ends.never else []
        until += f" ({'; '.join(remarks)})" if remarks else ""
        if ends.cut_off_words:
            until = f": {ends.cut_off_words}"
        elif ends.open_words:
            until = f": {ends.open_words}; {ends.never} never left it"
        stay = "stays" if ends.runs == 1 else "stay"
        sentences.append(f"{_of(ends.runs, len(known), 'run')} {stay} at {name}{until}.")
    never = [each for each in known if each.floor is not None and each.floor.name is not None]
    for name in dict.fromkeys(each.floor.name for each in never if each.floor is not None):
        count = sum(each.floor is not None and each.floor.name == name for each in never)
        if told.get(name or "") == count:
            continue
        verb = "is" if count == 1 else "are"
        said = f"{_of(count, len(known), 'run')} {verb} still at {name} at the end"
        early = sum(_is_at(readings, run, name) for run in paused_at_rungs(record, runs))
        sentences.append(
            f"{said}, {early} of them when halving paused it." if early else f"{said}."
        )
    return sentences


def _is_at(readings: dict[str, Reading], run: RunRecord, name: str | None) -> bool:
    """Whether a run ends at a natural level."""
    floor = readings[run.run].floor if run.run in readings else None
    return floor is not None and floor.name == name


def _spiky(
    runs: Sequence[RunRecord], readings: dict[str, Reading], spikes: Sequence[Explanation]
) -> list[str]:
    having = [run for run in runs if run.run in readings and readings[run.run].spikes]
    if not having:
        return []
    counts = [len(readings[run.run].spikes) for run in runs if run.run in readings]
    highest = max(spike.height for run in having for spike in readings[run.run].spikes)
    text = (
        f"{_of(len(having), len(runs), 'run')} {'has' if len(having) == 1 else 'have'} spikes, by "
        f"a factor of at most {number(highest)}; spikes per run: {spread_words(counts, number)}"
    )
    text += " (median and range of all runs)" if len(counts) > 1 else ""
    known = [each for each in spikes if each.zero_sum_error is not None]
    if known:
        lost = sum(each.zero_sum_step is not None for each in known)
        text += (
            f"; before {lost} of {counted(len(known), 'explained spike')}, logit gradients no "
            "longer summed to zero"
        )
    return [text + "."]


def _troubled(runs: Sequence[RunRecord]) -> list[str]:
    sentences = []
    for status in ("diverged", "failed"):
        steps = [run.step for run in runs if run.status == status]
        if steps:
            where = shown(min(steps))
            where += f" to {shown(max(steps))}" if max(steps) > min(steps) else ""
            sentences.append(f"{_of(len(steps), len(runs), 'run')} {status}, at step {where}.")
    return sentences


def _of(count: int, total: int, noun: str) -> str:
    """How many of several; at the beginning of a sentence if there is one only."""
    return f"{count} of {total} {noun}s" if total > 1 else f"The {noun}"
