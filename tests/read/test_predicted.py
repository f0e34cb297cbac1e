"""Expectations on a prediction, of runs that follow a power law or do not."""

import numpy as np
import pytest

from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

WIDTHS = [4, 8, 16, 32, 64]


def judged(path, texts, widths=WIDTHS, off=0.0, level=lambda width: 2 * width**-0.5):
    """The verdicts where the loss is 2 / sqrt(d_model), with widths that are off by a factor."""

    def curve(keys, seed, steps):
        width = keys["model.d_model"]
        noise = 0.01 * np.random.default_rng([seed, width]).normal()
        bend = off * (-1) ** int(np.log2(width))
        return np.full(len(steps), level(width) * np.exp(noise + bend))

    asked = grid(steps=40, seeds=3, grid={"model.d_model": widths}, expect=texts)
    return verdicts(*fill(path / "lab", asked, curve))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        # 2 / sqrt(2) is 1.41, and 2 / sqrt(256) is 0.125.
        ("is above 1.3 predicted for model.d_model=2", "held"),
        ("is below 1.3 predicted for model.d_model=2", "failed"),
        ("is between 1.3 and 1.55 predicted for model.d_model=2", "held"),
        ("is above 1.41 predicted for model.d_model=2", "undecided"),
        ("is between 0.11 and 0.14 predicted for model.d_model=256", "held"),
        ("is below 0.11 predicted for model.d_model=256", "failed"),
        # 2 / sqrt(16) is 0.5: its own runs are left out.
        ("is between 0.45 and 0.55 predicted for model.d_model=16", "held"),
        ("is above 1.3 predicted for model.d_model=2 from 8, 16, 32, 64", "held"),
    ],
)
def test_the_whole_prediction_interval_decides(tmp_path, text, outcome):
    (found,) = judged(tmp_path, [f"final(loss) {text}"])
    assert found.outcome == outcome, found.evidence
    low, high = found.interval
    assert low < found.value < high
    assert found.p is None
    assert found.state == outcome  # an interval is a test
    wanted = text.split(" predicted")[0].removeprefix("is ")
    words = {"held": "; ", "failed": "; not ", "undecided": "; not shown to be "}[outcome]
    assert found.evidence.endswith(words + wanted)
    assert "95% prediction interval of the mean of 3 seeds" in found.evidence


def test_a_relation_that_fits_badly_decides_nothing(tmp_path):
    (found,) = judged(tmp_path, ["final(loss) is above 1.3 predicted for model.d_model=2"], off=0.3)
    assert found.outcome == "undecided"


@pytest.mark.parametrize(
    ("text", "widths", "said"),
    [
        ("model.d_model=2", [4, 8, 16], "has 3 values with results, too few for a prediction"),
        ("model.d_model=16", [4, 8, 16, 32], "has 3 values with results, too few"),
        ("model.n_heads=2", WIDTHS, "model.n_heads does not vary in this grid"),
    ],
)
def test_what_cannot_be_predicted_is_said(tmp_path, text, widths, said):
    (found,) = judged(tmp_path, [f"final(loss) is above 1 predicted for {text}"], widths)
    assert found.outcome == "undecided"
    assert said in found.evidence


def test_runs_of_two_kinds_have_no_single_relation(tmp_path):
    def curve(keys, seed, steps):
        width = keys["model.d_model"]
        level = 2.0 if (seed + width) % 3 == 0 else 0.1 * width**-0.5
        return np.full(len(steps), level * np.exp(0.01 * np.random.default_rng(seed).normal()))

    text = "final(loss) is above 1 predicted for model.d_model=2"
    asked = grid(steps=40, seeds=5, grid={"model.d_model": WIDTHS}, expect=[text])
    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert found.outcome == "undecided"
    assert "no single relation to predict from" in found.evidence


def of_zipped(path, text, zipped, axes):
    """The verdict where the loss is 2 / sqrt(d_model), whatever else varies."""

    def curve(keys, seed, steps):
        noise = 0.01 * np.random.default_rng([seed, *map(int, keys.values())]).normal()
        return np.full(len(steps), 2 * keys["model.d_model"] ** -0.5 * np.exp(noise))

    asked = grid(steps=40, seeds=3, grid={"zip": zipped, **axes}, expect=[text])
    (found,) = verdicts(*fill(path / "lab", asked, curve))
    return found


def test_a_setting_that_varies_together_with_another_predicts_nothing_alone(tmp_path):
    zipped = {"model.d_model": WIDTHS, "model.n_heads": [1, 2, 4, 2, 1]}
    text = "final(loss) is above 1 predicted for model.d_model=2"
    found = of_zipped(tmp_path, text, zipped, {})
    assert found.state == "not tested"
    assert found.evidence == (
        "model.d_model varies together with model.n_heads in this grid, so nothing is predicted "
        "from it alone"
    )


def test_other_settings_may_vary_together(tmp_path):
    zipped = {"model.n_heads": [1, 2], "model.n_layers": [1, 2]}
    text = "final(loss) is above 1.3 predicted for model.d_model=2"
    found = of_zipped(tmp_path, text, zipped, {"model.d_model": WIDTHS})
    assert found.outcome == "held", found.evidence
