import numpy as np
import pytest

from ablab.experiments.expectations import parse_expectation
from ablab.read.calibration import calibration
from ablab.read.verdicts import Verdict, verdicts
from tests.read.filled import fill, grid, leaving

EXPECTED = {
    "leaves(log(10)) falls with model.d_model with confidence 0.9": "held",
    "leaves(log(10)) rises with model.d_model": "failed",
    "leaves(log(10)) falls with model.n_heads": "undecided",
    # Twice the width, half the steps: 300, 150 and 75.
    "leaves(log(10)) falls with model.d_model by a factor between 1.8 and 2.2": "held",
    "leaves(log(10)) falls with model.d_model by a factor between 1.3 and 1.7": "failed",
    "leaves(log(10)) falls with model.d_model by a factor between 2 and 3": "undecided",
    "leaves(log(10)) rises with model.d_model by a factor between 1.8 and 2.2": "failed",
    "steps_to(loss, 1e-6) falls with model.d_model by a factor between 1 and 2": "undecided",
    "final(loss) is higher where model.d_model=8 than where model.d_model=32 by 0.001": "held",
    "final(loss) is lower where model.d_model=8 than where model.d_model=32": "failed",
    "final(loss) is lower where model.n_heads=1 than where model.n_heads=4": "undecided",
    "leaves(log(10)) is the same where model.n_heads=1 as where model.n_heads=4 within 30": "held",
    "leaves(log(10)) is the same where model.d_model=8 as where model.d_model=32 within 5": (
        "failed"
    ),
    "leaves(log(10)) is between 50 and 150 where model.d_model=32": "held",
    "leaves(log(10)) is above 300 where model.d_model=32": "failed",
    "leaves(log(10)) falls with task.n_digits": "undecided",
    "leaves(log(10)) is below 300 where model.d_model=64": "undecided",
    "accuracy is above 0.5": "undecided",
    "steps_to(loss, 1e-6) is below 100": "failed",
    "spikes(loss) is below 1": "held",
}


def made_up(path, **more):
    rng = np.random.default_rng(0)

    def curve(keys, seed, steps):
        at = 2400 / keys["model.d_model"] + 5 * rng.standard_normal()
        return leaving(rng, steps, at)

    return fill(path, grid(steps=500, **more), curve)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    stored = made_up(tmp_path_factory.mktemp("store") / "lab", expect=list(EXPECTED))
    return dict(zip(EXPECTED, verdicts(*stored), strict=True))


@pytest.mark.parametrize("text", EXPECTED)
def test_verdicts(judged, text):
    verdict = judged[text]
    assert verdict.outcome == EXPECTED[text], verdict.evidence
    assert not verdict.late
    assert verdict.evidence


def test_the_numbers_are_said(judged):
    held = judged["leaves(log(10)) falls with model.d_model with confidence 0.9"]
    assert held.confidence == 0.9
    assert "at 8" in held.evidence
    assert held.interval[0] < held.value < held.interval[1] < 0
    unknown = judged["leaves(log(10)) is below 300 where model.d_model=64"]
    assert "this grid has no model.d_model=64, only 8, 16, 32" in unknown.evidence


def test_one_seed_has_no_interval(tmp_path):
    texts = [
        "leaves(log(10)) is higher where model.d_model=8 than where model.d_model=32",
        "leaves(log(10)) is between 50 and 150 where model.d_model=32",
    ]
    store, record = made_up(tmp_path / "lab", seeds=1, expect=texts)
    compared, inside = verdicts(store, record)
    assert (compared.outcome, compared.interval) == ("undecided", None)
    assert inside.outcome == "held"
    assert "for this seed only" in inside.evidence


def test_what_there_is_nothing_to_compare_with_is_said(tmp_path):
    def curve(keys, seed, steps):
        value = 1.0 if keys["model.n_heads"] == 4 else np.nan
        return {"train_loss": 1 / steps, "eval_accuracy": np.where(steps == 500, value, np.nan)}

    asked = "final(accuracy) is lower where model.n_heads=4 than where model.n_heads=1"
    (found,) = verdicts(*fill(tmp_path / "lab", grid(steps=500, expect=[asked]), curve))
    assert found.outcome == "undecided"
    assert found.evidence.startswith("nothing to compare with: ")
    assert len(found.evidence) > len("nothing to compare with: ")


def test_written_after_results(tmp_path):
    late = [parse_expectation("spikes(loss) is below 1 with confidence 0.9")]
    store, record = fill(
        tmp_path / "lab", grid(seeds=2), lambda keys, seed, steps: np.ones(len(steps)), late
    )
    (verdict,) = verdicts(store, record)
    assert verdict.late
    assert verdict.seen == 12
    assert calibration([verdict]) is None


def test_calibration():
    made = [
        Verdict("", "", outcome, "", confidence=confidence)
        for outcome, confidence in [
            ("held", 0.9), ("held", 0.8), ("failed", 0.8), ("undecided", 0.9), ("failed", 0.3),
            ("held", None),
        ]
    ]  # fmt: skip
    found = calibration(made)
    assert (found.count, found.held) == (4, 0.5)
    assert found.stated == pytest.approx(0.7)
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.64 + 0.09) / 4)
    assert found.groups[1][2:] == (3, pytest.approx(2 / 3))


def test_levels_and_bounds_follow_the_settings_of_each_run(tmp_path):
    """Each curve falls from 1.5 to 0.5 times the logarithm of its modulus at step 40 or 80."""
    asked = grid(
        steps=100,
        seeds=3,
        expect=[
            "steps_to(loss, log(task.p)) is between 39 and 42 where task.p=7",
            "steps_to(loss, log(task.p)) is between 79 and 82 where task.p=59",
            "final(loss) is below log(task.p) where task.p=59",
            "final(loss) is above log(task.p) where task.p=7",
            "final(loss) is below log(task.p)",
            "final(loss) is below log(task.p) where task.p=11",
        ],
    ) | {"task": {"kind": "modular"}, "grid": {"task.p": [7, 59]}}

    def curve(keys, seed, steps):
        noise = 1 + 0.01 * np.random.default_rng([seed, keys["task.p"]]).standard_normal()
        there = steps >= (40 if keys["task.p"] == 7 else 80)
        return np.log(keys["task.p"]) * np.where(there, 0.5, 1.5) * noise

    found = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert [each.state for each in found] == ["held"] * 3 + ["failed"] + ["not tested"] * 2
    assert found[2].evidence.endswith("; below log(task.p), that is below 4.078")  # log 59
    assert "differs between the runs" in found[4].evidence
    assert found[5].evidence == "this grid has no task.p=11, only 7, 59"
