"""What verdicts tell of a measure: which average, its unit, and an interval in its range."""

import numpy as np
import pytest

from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

HEADS = {"model.n_heads": [1, 4]}
CELLS = "where model.n_heads=1 than where model.n_heads=4"


def judged(path, texts, curve, seeds=5, steps=400):
    asked = grid(steps=steps, seeds=seeds, grid=HEADS, expect=texts)
    return verdicts(*fill(path / "lab", asked, curve))


def reaching(steps_of):
    return lambda keys, seed, steps: np.where(steps < steps_of(keys, seed), 2.0, 0.01)


def ending(column, value_of):
    def curve(keys, seed, steps):
        value = np.full(len(steps), float(value_of(keys, seed)))
        return {"train_loss": value, column: value}

    return curve


def test_steps_have_a_median_a_unit_and_a_logarithmic_interval(tmp_path):
    reached = [100, 140, 190, 150, 350]
    curve = reaching(lambda keys, seed: reached[seed])
    (found,) = judged(tmp_path, ["steps_to(loss, 0.1) is below 500"], curve)
    # Steps of the running mean, seven later; of the logarithms, t = 2.776 with four degrees.
    logs = np.log(np.array(reached) + 7.0)
    half = 2.776445 * logs.std(ddof=1) / 5**0.5
    ends = np.exp(logs.mean() + np.array([-half, half]))
    assert found.evidence.startswith("median 157 steps [")
    assert found.interval == pytest.approx(tuple(ends), rel=0.02)
    assert (found.outcome, found.estimand, found.value) == ("held", "median", 157)


def test_skewed_steps_are_compared_by_ratios(tmp_path):
    base = [60, 110, 40, 150, 80]
    curve = reaching(lambda keys, seed: base[seed] * (1 if keys["model.n_heads"] == 1 else 2))
    texts = [
        f"steps_to(loss, 0.1) is lower {CELLS}",
        f"steps_to(loss, 0.1) is lower {CELLS} by 300",
    ]
    lower, by = judged(tmp_path, texts, curve)
    assert lower.estimand == "ratio"
    assert lower.value == pytest.approx(0.5, rel=0.05)
    # The ratio is the mean over the seeds' pairs, which need not be 87/167.
    assert lower.evidence.startswith("median 87 vs 167 steps; on average over seeds 0.5")
    assert "times as many" in lower.evidence
    assert by.outcome == "failed"
    assert "tested for more than 300 steps" in by.evidence


def test_a_margin_is_added_before_logarithms_are_taken(tmp_path):
    base = [60, 110, 40, 150, 80]
    curve = reaching(lambda keys, seed: base[seed] + (seed if keys["model.n_heads"] == 1 else 0))
    same = "steps_to(loss, 0.1) is the same where model.n_heads=1 as where model.n_heads=4"
    wide, narrow = judged(tmp_path, [f"{same} within 200", f"{same} within 3"], curve)
    assert (wide.outcome, narrow.outcome) == ("held", "undecided")
    assert "; within ±200 steps" in wide.evidence


def test_an_accuracy_stays_below_one(tmp_path):
    values = [0.97, 0.995, 0.999, 0.99, 1.0]
    curve = ending("eval_accuracy", lambda keys, seed: values[(seed + keys["model.n_heads"]) % 5])
    texts = [
        "final(accuracy) is above 0.9 where model.n_heads=1",
        f"final(accuracy) is higher {CELLS} by 0.5",
    ]
    above, higher = judged(tmp_path, texts, curve)
    assert above.outcome == "held"
    assert above.interval[1] == 1.0
    assert above.evidence.startswith("median 0.995 [0.9")
    assert higher.outcome == "failed"


def test_counts_have_a_mean_that_is_not_negative(tmp_path):
    def curve(keys, seed, steps):
        random = np.random.default_rng(seed)
        value = 0.5 + 0.01 * random.normal(size=len(steps))
        for spike in range([0, 1, 3, 0, 2][seed]):
            value[100 + 80 * spike] = 8.0
        return value

    (found,) = judged(tmp_path, ["spikes(loss) is below 9"], curve)
    assert found.evidence.startswith("mean 1.2 [0, ")
    assert (found.estimand, found.interval[0]) == ("mean", 0.0)


def test_two_seeds_far_apart_are_no_estimate(tmp_path):
    values = {1: [1e-6, 1.0], 4: [1e-4, 1e-1]}
    curve = ending("eval_loss", lambda keys, seed: values[keys["model.n_heads"]][seed])
    texts = [f"final(eval_loss) is lower {CELLS}", "final(eval_loss) is below 5"]
    compared, alone = judged(tmp_path, texts, curve, seeds=2)
    assert compared.outcome == "undecided"
    assert compared.interval is None
    assert "ratio not known (no estimate: its interval reaches more than a factor of 1,000" in (
        compared.evidence
    )
    assert "; 2 seeds)" in compared.evidence
    assert "no estimate: " in alone.evidence
    assert alone.outcome == "undecided"
