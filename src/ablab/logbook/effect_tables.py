"""Effects in an entry: tables of comparisons, and their figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablab.experiments.short_names import setting_name, short_keys
from ablab.logbook.effect_figures import ROWS, forest, small_multiples
from ablab.read.effects import Effects, robust_table, trend_table
from ablab.read.effects.tables import comparison_table
from ablab.read.measure_words import measure_words
from ablab.read.short_variants import caveat


@dataclass(frozen=True)
class EffectTable:
    """The comparisons of a measure as text tables.

    Attributes:
        measure: The name of the measure.
        words: The measure in words.
        base: The base values, as text.
        header: The header of both tables.
        factorial: Comparisons averaged over the other settings.
        marginal: Comparisons with the other settings at their base values; empty if the grid has
            only one setting.
        missing: The number of runs without a value, and the number of runs.
        robust: Interquartile means, probabilities of improvement and log-rank tests: a header and
            rows; empty without any.
        trends: Trends over numeric settings with many values: a header and rows.
        caveat: How runs count that did not reach a step, which variants are not compared and why,
            and what a stop rule decides; may be empty.
    """

    measure: str
    words: str
    base: str
    header: list[str]
    factorial: list[list[str]]
    marginal: list[list[str]]
    missing: tuple[int, int]
    robust: tuple[list[str], list[list[str]]]
    trends: tuple[list[str], list[list[str]]]
    caveat: str = ""

    @property
    def is_tested(self) -> bool:
        """Whether there is a table of tests."""
        return bool(self.factorial or self.trends[1])

    @property
    def cut_words(self) -> str:
        """How many of the comparisons the figure has, if not all."""
        if len(self.factorial) <= ROWS:
            return ""
        return f"Of {len(self.factorial):,} comparisons, the first {ROWS} with a value are drawn."

    @property
    def remarks(self) -> str:
        """How many runs are left out, and the caveat; may be empty."""
        lost, runs = self.missing
        verbs = "has no value and is" if lost == 1 else "have no value and are"
        text = f"{lost} of {runs} runs {verbs} left out." if lost else ""
        return " ".join(filter(None, [text, self.caveat]))


def effect_table(found: Effects, stopped: str = "") -> EffectTable:
    """The comparisons of a measure as text tables.

    Args:
        found: The effects.
        stopped: What a stop rule decides of the measure; empty if nothing.
    """
    several = len(found.base) > 1
    names = short_keys(list(found.base))
    base = ", ".join(
        setting_name(names[key], value, not several) for key, value in found.base.items()
    )
    header, rows = comparison_table(found.factorial, found.scale, names)
    return EffectTable(
        found.measure,
        measure_words(found.measure),
        base,
        header,
        rows,
        comparison_table(found.marginal, found.scale, names)[1] if several else [],
        (found.missing, found.runs),
        robust_table(found.robust),
        trend_table(found.trends, names),
        " ".join(
            filter(
                None,
                [
                    found.bound,
                    caveat(found.left_out),
                    found.longer,
                    found.added_seeds,
                    *found.trend_notes(),
                    stopped,
                ],
            )
        ),
    )


def effect_drawings(effects: Sequence[Effects]) -> dict[str, str]:
    """The figures of effects, by file name."""
    drawings = {}
    for place, found in enumerate(effects):
        if any(each.difference is not None for each in found.factorial):
            drawings[f"effects-{place}"] = forest(found.factorial, found.measure)
        interaction = small_multiples(found)
        if interaction is not None:
            drawings[f"interactions-{place}"] = interaction
    return drawings
