"""Runs that diverged have no number, but are worse than any: they can overturn an outcome.

A run that diverged agrees with some outcomes (its cell's loss is higher) and contradicts others. An
outcome that it contradicts is undecided. That needs the column's declared direction; without it,
as for counts, such runs are only counted.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from ablab.experiments.expectations import Expectation
from ablab.read.by_outcome import OUTCOME
from ablab.read.hypothesis_tests import Sample
from ablab.read.judgements import Found, limits
from ablab.tasks.config import Direction


def compared(
    found: Found, sample: Sample, other: Sample, expectation: Expectation, better: Direction | None
) -> Found:
    """The outcome of a comparison of two samples, with their diverged runs in mind."""
    if better is None:
        return found
    if expectation.same_as is not None:
        return _unless(found, bool(sample.diverged + other.diverged))
    first_is_higher = (expectation.higher_than is not None) == (found.outcome == "held")
    against = other if first_is_higher == (better == "lower") else sample
    return _unless(found, bool(against.diverged))


def alone(
    found: Found, sample: Sample, expectation: Expectation, better: Direction | None
) -> Found:
    """The outcome of an order of cells or of a range, with diverged runs in mind."""
    if better is None or not sample.diverged:
        return found
    key = expectation.falls_with or expectation.rises_with
    if key is None:
        return _unless(found, not _agrees_with_range(found, sample, expectation, better))
    labels = sample.levels(key)
    if isinstance(labels, str) or expectation.factor is not None:
        return _unless(found, True)
    rises = (expectation.rises_with is not None) == (found.outcome == "held")
    worst = labels[-1 if rises == (better == "lower") else 0]
    return _unless(found, sample.diverged > sample.at(key, worst).diverged)


def with_outcome(
    found: Found, sample: Sample, expectation: Expectation, better: Direction | None
) -> Found:
    """The outcome of a comparison of runs that have an outcome with others, as :func:`compared`."""
    if better is None or not sample.diverged:
        return found
    is_lower = (expectation.lower_if is not None) == (found.outcome == "held")
    against = is_lower == (better == "lower")  # whether those that have it are claimed to be better
    known = sample.lost.filter(pl.col("status") == "diverged")[OUTCOME]
    return _unless(found, any(each is None or each == against for each in known))


def _agrees_with_range(
    found: Found, sample: Sample, expectation: Expectation, better: Direction
) -> bool:
    """Whether a value that is worse than any number agrees with the outcome of a range."""
    low, high = limits(expectation)
    if found.outcome == "failed":
        return sample.mean >= high if better == "lower" else sample.mean <= low
    return bool(np.isinf(high if better == "lower" else low))


def _unless(found: Found, against: bool) -> Found:
    if found.outcome == "undecided" or not against:
        return found
    would = {"held": "hold", "failed": "fail"}[found.outcome]
    why = f"; it would {would} without the runs that diverged"
    return replace(
        found, outcome="undecided", evidence=found.evidence + why, p=None, overturned=found.tested
    )
