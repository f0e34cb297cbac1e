"""The setting that colours show where there are too many variants to tell all of them apart."""

import math
import re

from ablab.experiments.short_names import differing_keys, short_keys
from ablab.logbook.colours import CROWDED
from ablab.read.effects import Comparison, Effects
from ablab.store.store import ExperimentRecord, RunRecord


def needs_main_setting(runs: list[RunRecord]) -> bool:
    """Whether there are too many variants, and several settings of which colours can show one."""
    cells = {str(run.variant): run.variant for run in runs}
    return len(cells) > CROWDED and len(differing_keys(list(cells.values()))) > 1


def main_setting(record: ExperimentRecord, effects: Effects | None) -> str | None:
    """The setting that the question names, or else the one with the largest effect.

    None if the question does not name exactly one and no effect is known.

    Args:
        record: The experiment.
        effects: The effects on the answer's measure; None without any.
    """
    keys: list[str] = list(record.definition["grid"])
    short = short_keys(keys)
    asked = (record.question or "").lower()
    named = [key for key in keys if re.search(rf"\b{re.escape(short[key].lower())}s?\b", asked)]
    if len(named) == 1:
        return named[0]
    sizes: dict[str, float] = {
        each.key: _size(each)
        for each in sorted(() if effects is None else effects.factorial, key=_size)
    }
    largest = max(sizes, key=lambda key: sizes[key], default=None)
    return largest if largest is not None and sizes[largest] else None


def _size(each: Comparison) -> float:
    """The size of a difference, on its scale."""
    if each.difference is None:
        return 0.0
    if each.scale == "ratio":
        return abs(math.log(each.difference)) if each.difference > 0 else 0.0
    return abs(each.difference)
