"""Outcomes of expectations on a prediction: the measure at a value that need not be trained.

The measure is predicted from the other values of the setting, by a power law or an exponential.
What decides is the interval of a new observation, which has both the noise of seeds and the misfit
of the relation.
"""

from dataclasses import replace

import numpy as np

from ablab.config import InputError, Problem
from ablab.experiments.expectations import Expectation
from ablab.experiments.joint_keys import joint_keys
from ablab.read.effects.joint import as_one
from ablab.read.effects.prediction import predict
from ablab.read.effects.results import gather
from ablab.read.hypothesis_tests import Sample, gaps
from ablab.read.judgements import Found, Outcome, limits, of_range
from ablab.read.quantity import Quantity
from ablab.tasks.config import Direction


def judge(
    sample: Sample,
    expectation: Expectation,
    better: Direction | None,
    guessing: float | None,
    quantity: Quantity,
) -> Found:
    """Whether a predicted value is in a range: its whole prediction interval, or none of it.

    Args:
        sample: The runs of the cells of ``where``.
        expectation: The expectation.
        better: Which values of the measure are better, if declared.
        guessing: The loss of guessing, if declared.
        quantity: What is known of the measure; no new value can be beyond its range.

    Raises:
        InputError: The setting does not vary, varies together with another one, or is not numeric;
            fewer than four other values have results, the measure is not positive, or some runs did
            not learn or reach the step.
    """
    assert expectation.predicts is not None, "given by the caller"
    ((key, value),) = expectation.predicts.items()
    if key not in sample.keys:
        raise InputError(Problem(f"{key} does not vary in this grid", key))
    sample = sample.active(key)
    labels = sample.frame[key].to_list()
    wanted = expectation.trained
    chosen = [label != value and (wanted is None or label in wanted) for label in labels]
    used = sample.of(sample.frame.filter(chosen))
    if used.known.is_empty():
        raise InputError(Problem(f"no run has a value at another value of {key}", key))
    if used.diverged:
        many = "1 run diverged" if used.diverged == 1 else f"{used.diverged} runs diverged"
        raise InputError(Problem(f"{many}, so there is no single relation to {key}", key))
    frame, keys = used.frame, used.keys
    groups = joint_keys(keys, frame.select(keys).unique(maintain_order=True).to_dicts())
    together = [each for group in groups if key in group for each in group if each != key]
    if together:
        raise InputError(
            Problem(
                f"{key} varies together with {' and '.join(together)} in this grid, so nothing is "
                "predicted from it alone",
                key,
            )
        )
    if len(groups) < len(keys):  # others vary together
        frame, keys = as_one(frame, [e for e in keys if e != key], used.nullable), [key, "variant"]
    results = gather(frame, keys, measure=expectation.measure, better=better, guessing=guessing)
    found = predict(results, key, value, alpha=sample.alpha)
    if quantity.limits is not None:
        least, most = (float(np.clip(end, *quantity.limits)) for end in found.interval)
        found = replace(found, interval=(least, most))
    low, high = limits(expectation)
    ends = found.interval
    strict = expectation.within is None
    inside = (low < ends[0] and ends[1] < high) if strict else (low <= ends[0] and ends[1] <= high)
    outside = (ends[1] <= low or ends[0] >= high) if strict else (ends[1] < low or ends[0] > high)
    outcome: Outcome = "held" if inside else "failed" if outside else "undecided"
    evidence = found.sentence().removesuffix(".") + gaps(used)
    return Found(outcome, evidence + of_range(outcome, expectation.range), found.predicted, ends)
