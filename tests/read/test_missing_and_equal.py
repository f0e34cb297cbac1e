"""What is decided where runs are missing, diverged, paused or all alike, of planted values."""

import numpy as np
import polars as pl
import pytest

from ablab.experiments.expectations import parse_expectation
from ablab.read.effects import differences, gather
from ablab.read.effects.sentences import comparison_sentence
from ablab.read.effects.stored import better_values, experiment_effects
from ablab.read.hypothesis_tests import Sample
from ablab.read.trend_tests import trend
from ablab.read.two_groups import Groups, within
from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid


def judged(path, texts, value, seeds=5, steps=40, **more):
    """The verdicts where the column lr_scale ends at ``value(keys, seed)``; None diverges."""

    def curve(keys, seed, steps):
        own = value(keys, seed)
        if own is None:
            return None
        own = own if isinstance(own, dict) else {"lr_scale": own}
        columns = {"train_loss": 1.0} | own
        return {name: np.full(len(steps), float(each)) for name, each in columns.items()}

    return verdicts(
        *fill(path / "lab", grid(steps=steps, seeds=seeds, expect=texts, **more), curve)
    )


def test_a_run_that_diverged_early_sets_no_horizon():
    rows = [
        {"lr": lr, "seed": seed, "value": 300.0 * scale + 10 * seed, "not_before": None,
         "status": "finished"}
        for lr, scale in ((1e-3, 1), (1e-2, 3))
        for seed in range(5)
    ]  # fmt: skip
    rows += [
        {"lr": 1.0, "seed": seed, "value": None, "not_before": 20, "status": "diverged"}
        for seed in range(5)
    ]
    results = gather(pl.DataFrame(rows), ["lr"], measure="steps_to(loss, 0.1)", better="lower")
    assert results.horizon == 940  # the last step that is known of any run
    assert results.reached.tolist() == [[True] * 5, [True] * 5, [False] * 5]
    three, diverged = differences(results)
    assert three.counts is None and three.difference is not None
    assert (diverged.counts.value, diverged.counts.reference) == ((0, 5), (5, 5))
    assert "by step 940" in comparison_sentence(diverged, "steps_to(loss, 0.1)")


# Counts of 0 everywhere at the lower rate; at the higher one 10, and all of width 8 diverged.
TENS = {16: [9, 10, 11, 10, 10], 32: [9, 10, 11, 10, 11]}


def test_an_order_is_of_the_same_cells_at_each_value(tmp_path):
    def value(keys, seed):
        if keys["train.lr"] < 0.01:
            return 0
        return TENS[keys["model.d_model"]][seed] if keys["model.d_model"] in TENS else None

    axes = {"model.d_model": [8, 16, 32], "train.lr": [1e-3, 0.1]}
    text = "final(lr_scale) rises with model.d_model"
    (found,) = judged(tmp_path, [text], value, grid=axes)
    assert found.outcome == "undecided", found.evidence
    assert "0 at 8, 0 at 16, 0 at 32" in found.evidence


def test_an_order_with_no_cell_in_common_is_not_tested(tmp_path):
    def value(keys, seed):
        wide = keys["model.d_model"] == 32
        return None if wide == (keys["train.lr"] < 0.01) else keys["model.d_model"] + seed / 10

    axes = {"model.d_model": [8, 16, 32], "train.lr": [1e-3, 0.1]}
    (found,) = judged(tmp_path, ["final(lr_scale) rises with model.d_model"], value, grid=axes)
    assert found.state == "not tested"
    assert "no variant of the other settings has a value at each model.d_model" in found.evidence


def test_the_opposite_direction_is_of_the_seeds_of_the_slope():
    """In all four complete seeds it falls first; the fifth is missing where it would be low."""
    none = np.nan
    table = np.array(
        [[1, 1.3, 0.8, 1.1, none], [0.95, 1.25, 0.75, 1.05, 1.5], [1.6, 1.95, 1.4, 1.65, 2.1]]
    )
    found = trend(table, 1)
    assert found.steps[0] == pytest.approx(-0.05)


@pytest.mark.parametrize(
    ("text", "seeds", "outcome", "p"),
    [
        # 2^(1 - n): both signs of n equal differences.
        ("is lower where model.n_heads=1 than where model.n_heads=4", 8, "held", 2**-7),
        ("is higher where model.n_heads=1 than where model.n_heads=4", 8, "failed", 2**-7),
        ("is lower where model.n_heads=1 than where model.n_heads=4", 4, "undecided", 2**-3),
        ("is lower where model.n_heads=1 than where model.n_heads=4 by 0.5", 8, "held", 2**-7),
        ("is lower where model.n_heads=1 than where model.n_heads=4 by 2", 8, "failed", 2**-7),
        ("is lower where model.n_heads=1 than where model.n_heads=4 by 1", 8, "undecided", 1),
    ],
)
def test_equal_differences_are_decided_by_their_signs(tmp_path, text, seeds, outcome, p):
    value = {1: 1.0, 4: 2.0}
    (found,) = judged(
        tmp_path, [f"final(lr_scale) {text}"], lambda keys, seed: value[keys["model.n_heads"]],
        seeds=seeds, grid={"model.n_heads": [1, 4]},
    )  # fmt: skip
    assert (found.outcome, found.p) == (outcome, pytest.approx(p)), found.evidence


def test_no_mean_over_both_groups_decides_a_range(tmp_path):
    """With one head all learn, with four one of eight; no run is between 1 and 1.3."""

    def value(keys, seed):
        return {"train_loss": 0.01 if keys["model.n_heads"] == 1 or seed == 7 else 2.3}

    text = "final(loss) is between 1 and 1.3"
    (found,) = judged(tmp_path, [text], value, seeds=8, grid={"model.n_heads": [1, 4]})
    assert found.outcome == "undecided", found.evidence
    assert "runs learnt" in found.evidence


def test_a_value_at_the_end_of_an_inclusive_range_is_inside():
    """3 of 9 steps are 300, and 6 are above, which a sign test does not decide: p = 0.25."""
    steps = [300.0] * 3 + [310.0] * 3 + [320.0] * 2 + [3000.0]
    frame = pl.DataFrame(
        {"run": list("abcdefghi"), "seed": range(9), "value": steps, "not_before": [None] * 9,
         "reason": [None] * 9, "status": ["finished"] * 9},
        schema_overrides={"not_before": pl.Int64, "reason": pl.String},
    )  # fmt: skip
    asked = parse_expectation("steps_to(loss, 0.1) is between 100 and 300")
    found = within(Sample(frame, []), asked, Groups(1000.0, "lower", steps=True))
    assert found.outcome == "undecided"
    assert found.p == pytest.approx(
        130 / 512
    )  # of nine signs, six or more: (84 + 36 + 9 + 1) / 2^9


IF = "final(loss) is lower if {} than otherwise"


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ("final(lr_scale) is below 1", "undecided"),  # what those that diverged had is not known
        ("steps_to(loss, 0.5) is reached", "held"),  # they did not reach it, and are worse
    ],
)
def test_runs_that_diverged_count_in_comparisons_by_outcome(tmp_path, condition, outcome):
    def value(keys, seed):
        if seed >= 10:
            return None
        return {"train_loss": 0.1, "lr_scale": 0} if seed < 5 else {"train_loss": 2, "lr_scale": 2}

    more = {"seeds": 12, "grid": {"model.n_heads": [4]}}
    (found,) = judged(tmp_path, [IF.format(condition)], value, **more)
    assert found.outcome == outcome, found.evidence
    assert ("without the runs that diverged" in found.evidence) == (outcome == "undecided")


def test_nothing_is_predicted_where_runs_diverged(tmp_path):
    def value(keys, seed):
        width = keys["model.d_model"]
        return None if width == 64 and seed else {"train_loss": 2 * width**-0.5 + 1e-4 * seed}

    text = "final(loss) is below 0.4 predicted for model.d_model=128"
    (found,) = judged(tmp_path, [text], value, grid={"model.d_model": [4, 8, 16, 32, 64]})
    assert found.outcome == "undecided"
    assert "4 runs diverged, so there is no single relation to model.d_model" in found.evidence


def test_the_direction_of_a_floor_is_that_of_its_column(tmp_path):
    _, record = fill(
        tmp_path / "lab", grid(steps=20, seeds=1), lambda keys, seed, steps: steps * 1.0
    )
    assert better_values(record, "floor(eval_loss)") == "lower"
    assert better_values(record, "highest(eval_accuracy)") == "higher"
    assert better_values(record, "spikes(train_loss)") is None


def test_a_setting_of_one_optimizer_has_a_trend(tmp_path):
    """The loss falls with the momentum of SGD, which AdamW has none of."""
    momenta = [round(0.1 * n, 1) for n in range(1, 8)]
    axes = {
        "train.optimizer": ["adamw", "sgd"],
        "train.momentum": momenta,
        "when": {"train.momentum": {"train.optimizer": "sgd"}},
    }

    def curve(keys, seed, steps):
        momentum = keys["train.momentum"]
        level = 1 - momentum if isinstance(momentum, float) else 0.8
        return np.full(len(steps), level + 0.001 * seed)

    stored = fill(tmp_path / "lab", grid(steps=20, seeds=3, grid=axes), curve)
    found = experiment_effects(*stored, measure="final(train_loss)")
    (trended,) = [each for each in found.trends if each.key == "train.momentum"]
    assert trended.correlation == pytest.approx(-1)
    assert trended.tried == tuple(momenta)
