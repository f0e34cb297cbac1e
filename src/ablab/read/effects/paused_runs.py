"""Effects of an experiment of which halving paused runs.

They were paused because of their values by then, and what they would have come to is not known. So
what would compare the runs that are left with them, or average over cells without them, is left
out. Of steps that were not reached, nothing is: they are compared up to a step that all runs came
to.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ablab.config import counted
from ablab.read.effects.compare import Comparison
from ablab.read.effects.report import Effects
from ablab.read.effects.robust import Robust
from ablab.read.measured import is_paused


def without_paused(found: Effects, frame: pl.DataFrame) -> Effects:
    """The same effects without those in which a paused run lacks a value.

    Args:
        found: The effects.
        frame: The runs, as :func:`ablab.read.measures.measure_table` gives them. Without
            ``reason``, none is known to be paused.
    """
    if "reason" not in frame.columns:
        return found
    lost = frame.filter(is_paused() & pl.col("value").is_null() & pl.col("not_before").is_null())
    if lost.is_empty():
        return found

    def at_base(each: Comparison | Robust) -> pl.DataFrame:
        """The paused runs of a comparison with all other settings at their base values."""
        rows = lost
        for key, value in found.base.items():
            if key != each.key:
                rows = rows.filter(pl.col(key).eq_missing(pl.lit(value)))
        return rows

    def is_whole(each: Comparison | Robust, rows: pl.DataFrame) -> bool:
        sides: Sequence[object] = [each.value, each.reference]
        return all(
            rows.filter(pl.col(each.key).eq_missing(pl.lit(side))).is_empty() for side in sides
        )

    factorial = tuple(each for each in found.factorial if is_whole(each, lost))
    marginal = tuple(each for each in found.marginal if is_whole(each, at_base(each)))
    compared, of = len(factorial), len(found.factorial)
    text = (
        f"Halving paused {lost.height:,} of {counted(frame.height, 'run')} because of their values "
        "by then, and their later values are not known. So nothing is said of trends and "
        f"interactions, and {of - compared} of {counted(of, 'comparison')} in which they would "
        f"count {'is' if of - compared == 1 else 'are'} left out."
    )
    return replace(
        found,
        factorial=factorial,
        marginal=marginal,
        robust=tuple(each for each in found.robust if is_whole(each, at_base(each))),
        interactions=(),
        scalings=(),
        trends=(),
        best_values=(),
        without_trend={},
        paused=text,
    )
