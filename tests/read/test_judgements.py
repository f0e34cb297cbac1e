"""Verdicts on numbers: runs that diverged are counted, and count against what they contradict."""

import re

import numpy as np
import pytest

from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

HEADS = {"model.n_heads": [1, 4]}


def judged(path, text, lost, steps=40, **more):
    """The verdict where the loss is 0.1 lower with four heads; ``lost(keys, seed)`` diverge."""

    def curve(keys, seed, steps):
        if lost(keys, seed):
            return None
        rng = np.random.default_rng([seed, *map(int, keys.values())])
        level = 1 - 0.1 * (keys.get("model.n_heads") == 4) - 0.01 * keys.get("model.d_model", 0)
        return np.full(len(steps), level + 0.01 * rng.standard_normal())

    asked = grid(steps=steps, seeds=8, grid=HEADS, expect=[f"final(loss) {text}"]) | more
    (found,) = verdicts(*fill(path / "lab", asked, curve))
    return found


def with_four(keys, seed):
    return keys["model.n_heads"] == 4 and seed < 3


def with_one(keys, seed):
    return keys["model.n_heads"] == 1 and seed < 3


def no_one(keys, seed):
    return False


def test_a_difference_within_the_margin_is_called_one(tmp_path):
    """It is -0.1 with a deviation of 0.01: more than chance, and less than the margin of 0.5."""
    found = judged(tmp_path, SAME, no_one)
    assert found.outcome == "held"
    apart = r"; on average over seeds it differs by -0\.1\d* \[-0\.1\d*, -0\.0\d*\], which"
    assert re.search(apart + r" is within the margin of ±0\.5", found.evidence)


SAME = "is the same where model.n_heads=4 as where model.n_heads=1 within 0.5"
LOWER = "is lower where model.n_heads={} than where model.n_heads={}"


@pytest.mark.parametrize(
    ("text", "lost", "outcome"),
    [
        (LOWER.format(4, 1), no_one, "held"),
        (LOWER.format(4, 1), with_four, "undecided"),
        (LOWER.format(1, 4), with_four, "undecided"),
        (LOWER.format(1, 4), with_one, "failed"),
        (LOWER.format(4, 1), with_one, "held"),
        (SAME, with_four, "undecided"),
        ("is below 1.5 where model.n_heads=4", with_four, "undecided"),
        ("is above 0.5 where model.n_heads=4", with_four, "held"),
        ("is below 0.5 where model.n_heads=4", with_four, "failed"),
    ],
)  # fmt: skip
def test_runs_that_diverged_count_against_what_they_contradict(tmp_path, text, lost, outcome):
    found = judged(tmp_path, text, lost)
    assert found.outcome == outcome, found.evidence
    if lost is with_four:
        assert "3 diverged at step 10" in found.evidence
        assert "5 of 8" in found.evidence


def test_both_cells_are_counted(tmp_path):
    found = judged(tmp_path, LOWER.format(1, 4), with_four)
    assert "; 8 of 8 vs 5 of 8 runs have a value (3 diverged at step 10)" in found.evidence
    assert found.evidence.endswith("it would fail without the runs that diverged")
    assert (found.state, found.p) == ("undecided", None)


@pytest.mark.parametrize(
    ("text", "width", "outcome"),
    [
        ("falls with model.d_model", 8, "held"),  # diverged runs are worst where losses are high
        ("falls with model.d_model", 32, "undecided"),
        ("rises with model.d_model", 8, "failed"),
        ("rises with model.d_model", 16, "undecided"),
    ],
)
def test_an_order_with_runs_that_diverged(tmp_path, text, width, outcome):
    axis = {"model.d_model": [8, 16, 32]}
    found = judged(
        tmp_path, text, lambda keys, seed: keys["model.d_model"] == width and seed < 2, grid=axis
    )
    assert found.outcome == outcome, found.evidence


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (LOWER.format(4, 1), 0.001),
        (SAME, 0.001),
        ("is below 1.5", 0.001),
        ("is between 0.5 and 1.5", 0.001),
        ("is below 0.5", 0.001),
    ],
)
def test_a_decided_verdict_has_its_p_value(tmp_path, text, most):
    found = judged(tmp_path, text, no_one)
    assert found.outcome != "undecided"
    assert 0 < found.p < most


def test_the_only_one_of_three_seeds_with_a_value_decides_nothing(tmp_path):
    text = "final(loss) is below 50"
    asked = grid(steps=40, seeds=3, grid={"model.d_model": [8]}, expect=[text])

    def curve(keys, seed, steps):
        return None if seed else 1 - steps / 100

    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert (found.outcome, found.interval) == ("undecided", None)
    assert "1 of 3 runs has a value" in found.evidence


def narrower(keys, seed, steps):
    """A loss that falls with the width, in every seed."""
    return 2 - keys["model.d_model"] / 20 + seed / 100 + 0 * steps


def in_groups(keys, seed, steps):
    return (0.1 if keys["model.d_model"] > 20 else 2.0) * (
        1 - keys["model.d_model"] / 1000
    ) + 0 * steps


def half_way(keys, seed, steps):
    """Falls below 0.5 the earlier the wider, and at width 8 never."""
    at = 10**6 if keys["model.d_model"] == 8 else 400 / keys["model.d_model"]
    return np.where(steps >= at, 0.1, 2.0)


@pytest.mark.parametrize(
    ("measure", "curve"),
    [("final(loss)", narrower), ("final(loss)", in_groups), ("steps_to(loss, 0.5)", half_way)],
)
@pytest.mark.parametrize("widths", [[8, 16, 24], [8, 16, 24, 32, 40]])
def test_one_seed_shows_no_order(tmp_path, measure, curve, widths):
    asked = grid(
        steps=40, seeds=1, grid={"model.d_model": widths},
        expect=[f"{measure} falls with model.d_model"],
    )  # fmt: skip
    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert (found.state, found.p, found.interval) == ("not tested", None, None)
    assert found.evidence.endswith("; one seed shows no order")


def test_the_only_seed_with_all_values_shows_no_order(tmp_path):
    asked = grid(
        steps=40, seeds=5, grid={"model.d_model": [8, 16, 24]},
        expect=["final(loss) falls with model.d_model"],
    )  # fmt: skip

    def curve(keys, seed, steps):
        return None if keys["model.d_model"] == 24 and seed else narrower(keys, seed, steps)

    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert found.state == "not tested"
    assert "; the only seed with all values shows no order; 11 of 15 runs have" in found.evidence


def test_two_seeds_show_an_order_of_three_values(tmp_path):
    """By chance, both are in order with probability 1/36."""
    asked = grid(
        steps=40, seeds=2, grid={"model.d_model": [8, 16, 24]},
        expect=["final(loss) falls with model.d_model"],
    )  # fmt: skip
    (found,) = verdicts(*fill(tmp_path / "lab", asked, narrower))
    assert found.outcome == "held"
    assert found.p == pytest.approx(1 / 36)
