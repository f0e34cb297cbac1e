"""What can be said of the values that an experiment's question is about, in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablab.config.wording import counted
from ablab.experiments.measures import parse_measure
from ablab.experiments.short_names import group_name
from ablab.logbook.effect_words import (
    comparison_in_words,
    size_of_difference,
    trends_in_words,
    undecided_in_words,
)
from ablab.logbook.ladder import Ladder
from ablab.logbook.ranking import Ranking
from ablab.logbook.variant_values import MeasuredVariants, VariantValues
from ablab.read.curves.numbers import number
from ablab.read.effects import Effects, scaling_sentence
from ablab.read.measure_words import measure_words
from ablab.read.measures import is_step
from ablab.read.medians import spread_words
from ablab.read.short_variants import caveat

_LISTED = 4  # so many variants have their values in the first sentence
_MOST = 200  # more seeds than this are no advice


@dataclass(frozen=True)
class AnswerValues:
    """The values of a measure, and what can be said of them.

    Attributes:
        measure: The measure.
        found: The values of all variants; None if none was logged.
        effects: The effects of the grid's settings on it; None without a grid.
        ladder: The comparisons of each bundle with the one before; None if the grid is no ladder.
        ranking: The comparisons of the best variant with the others; None without a test.
        paused: That halving paused runs, in a sentence; empty if it did not. No variant is told as
            the best then.
    """

    measure: str
    found: MeasuredVariants | None
    effects: Effects | None
    ladder: Ladder | None
    ranking: Ranking | None
    paused: str = ""

    @property
    def words(self) -> str:
        """The measure in words."""
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
        decided = self.ranking is not None and self.ranking.is_decided and not self.paused
        return decided and not self.leads_with_counts and len(self.compared) > 1

    @property
    def depends(self) -> bool:
        """Whether it is shown where a setting is best for each value of another one."""
        return self.effects is not None and bool(self.effects.best_values)

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
        elif self.ranking is not None and not self.ranking.is_decided:
            text += " " + self.ranking.open_words(order)
        elif self.ranking is not None:
            text += f" Of the variants that halving did not pause, it is {order} with "
            text += f"{self.ranking.best.name}."
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
        if self.paused:
            return f" {self.paused}"
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
        none = [place for place, (_, some, every) in enumerate(counts) if not some and every]
        part = [f"{some} of {every} with {name}" for name, some, every in counts
                if 0 < some < every]  # fmt: skip
        all_of = [place for place, (_, some, every) in enumerate(counts) if some == every and some]
        said = [
            _listed("all with", self._named([rows[place] for place in all_of])),
            _listed("", part, f"some in {len(part)} variants"),
            _listed("none with", self._named([rows[place] for place in none])),
        ]
        return f"{text}: {'; '.join(each for each in said if each)}."

    def _named(self, rows: Sequence[VariantValues]) -> list[str]:
        """Some variants by their names, or together by a setting that they alone have."""
        every = self.variants
        places = [place for place, row in enumerate(every) if row in rows]
        together = group_name([row.keys for row in every], places)
        return [row.name for row in rows] if together is None else [together]

    def decided(self) -> list[str]:
        """The largest decided difference of each setting, or the relation to it.

        Settings of which nothing is decided come last, so that no silence is taken for equality.
        """
        if self.ladder is not None:
            return self.ladder.sentences()
        if self.effects is None:
            return []
        found = []
        swept = {each.other for each in self.effects.best_values}
        for key in self.effects.of:
            if key in swept:  # an average over the values of a sweep compares no best ones
                continue
            law = next((each for each in self.effects.scalings if each.key == key), None)
            if law is not None and law.best is not None and law.best.holds:
                found.append(scaling_sentence(law))
                continue
            told = [each for each in self.effects.factorial
                    if each.key == key and each.verdict == "differs"]  # fmt: skip
            if told:
                found.append(comparison_in_words(max(told, key=size_of_difference), self.effects))
        words = self.words[0].upper() + self.words[1:]
        found += trends_in_words(self.effects, words, shown=True)
        return [*found, *undecided_in_words(self.effects)] if found else []

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
