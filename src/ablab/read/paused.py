"""Runs that halving paused have no value of their end, and can overturn an outcome.

They were paused because of their values by then, so those that are left are no fair sample, and
what a paused run would have come to is not known: it counts as whatever is worst for the claim. An
outcome of values in which one is lacking is undecided. Steps that were not reached have bounds
instead (``not_reached``).
"""

from dataclasses import replace

import polars as pl

from ablab.config import counted
from ablab.read.hypothesis_tests import Sample
from ablab.read.judgements import Found
from ablab.read.measured import is_paused


def paused_words(frame: pl.DataFrame | None) -> str:
    """That halving paused some of the measured runs, in a sentence; empty if it did not."""
    paused = 0 if frame is None else frame.filter(is_paused()).height
    if not paused:
        return ""
    assert frame is not None, "it has rows"
    what = "its later value is" if paused == 1 else "their later values are"
    runs = counted(frame.height, "run")
    return (
        f"Halving paused {paused:,} of {runs} because of what they had by then; {what} not known."
    )


def unless_paused(found: Found, *samples: Sample) -> Found:
    """The outcome of what was found of some samples, with their paused runs in mind."""
    if found.outcome == "undecided" or not samples:
        return found
    paused = pl.concat([each.lost for each in samples], how="diagonal").filter(is_paused())
    count = paused["run"].n_unique() if "run" in paused.columns else paused.height
    if not count:
        return found
    would = {"held": "hold", "failed": "fail"}[found.outcome]
    their = "whose later values are not known"
    why = f"; it would {would} without the {counted(count, 'run')} that halving paused, {their}"
    return replace(
        found, outcome="undecided", evidence=found.evidence + why, p=None, overturned=found.tested
    )
