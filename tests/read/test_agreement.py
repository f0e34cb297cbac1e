"""Verdicts and effects agree: the same test, in direction and in whether something is shown."""

import numpy as np
import pytest

from ablab.read.effects.stored import experiment_effects
from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

AXES = {"model.d_model": [8, 16, 32], "model.n_heads": [1, 4]}
CELLS = "where model.n_heads=1 than where model.n_heads=4"


def draw(keys, seed, salt=0):
    width, heads = keys["model.d_model"], keys["model.n_heads"]
    return np.random.default_rng([seed, width, heads, salt]).normal()


def reach(keys, seed):
    """Half as many steps per doubling of the width, and a tenth fewer with one head."""
    log = np.log(3000 / keys["model.d_model"]) + 0.03 * draw(keys, seed)
    return np.exp(log - 0.1 * (keys["model.n_heads"] == 1))


def falling(shift):
    """Curves that fall below 0.1 at a step, of which those of the narrowest model lack some."""

    def curve(keys, seed, steps):
        return np.where(steps < reach(keys, seed) + shift, 2.0, 0.01)

    return curve


def ending(level):
    def curve(keys, seed, steps):
        value = level(keys, seed)
        return {
            "train_loss": np.full(len(steps), value),
            "eval_accuracy": np.full(len(steps), value),
        }

    return curve


def skewed(keys, seed):
    return np.exp(-4 + draw(keys, seed) - 1.5 * (keys["model.n_heads"] == 1))


def near_one(keys, seed):
    return 1 - 0.01 * np.exp(0.8 * draw(keys, seed) - 2 * (keys["model.n_heads"] == 1))


def two_groups(keys, seed):
    learnt = draw(keys, seed, 1) < (1.5 if keys["model.n_heads"] == 1 else -0.8)
    return (0.01 if learnt else 2.0) * np.exp(0.05 * draw(keys, seed))


CASES = {
    "not reached": ("steps_to(loss, 0.1)", falling(0), 350),
    "reached by all": ("steps_to(loss, 0.1)", falling(0), 500),
    "nothing shown": ("steps_to(loss, 1e-9)", falling(0), 400),
    "skewed": ("final(loss)", ending(skewed), 40),
    "accuracy": ("final(accuracy)", ending(near_one), 40),
    "two groups": ("final(loss)", ending(two_groups), 40),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seeds", [3, 5])
def test_a_verdict_agrees_with_the_effect(tmp_path, name, seeds):
    measure, curve, steps = CASES[name]
    texts = [f"{measure} is {how} {CELLS}" for how in ("lower", "higher")]
    texts += [f"{measure} {how} with model.n_heads" for how in ("rises", "falls")]
    asked = grid(steps=steps, seeds=seeds, grid=AXES, expect=texts)
    store, record = fill(tmp_path / "lab", asked, curve)
    lower, higher, rises, falls = verdicts(store, record)
    (found,) = experiment_effects(store, record, of="model.n_heads", measure=measure).factorial
    sign = -1 if found.reference == 1 else 1  # of the value with one head, against the other
    outcomes = {"lower": ("held", "failed"), "higher": ("failed", "held")}
    wanted = ("undecided", "undecided")
    if found.verdict == "differs":
        way = (
            found.direction if sign > 0 else {"lower": "higher", "higher": "lower"}[found.direction]
        )
        wanted = outcomes[way]
    assert (lower.outcome, higher.outcome) == wanted, (lower.evidence, found)
    assert (rises.outcome, falls.outcome) == wanted  # two values in an order are a comparison
    for verdict in (lower, higher, rises, falls):
        tested = verdict.p is not None  # not where nothing was reached
        assert not tested or verdict.p == pytest.approx(found.p, rel=1e-6)
    assert (name == "nothing shown") == (lower.outcome == "undecided") or seeds == 3


def test_an_order_within_cells_is_shown_that_means_over_cells_hide(tmp_path):
    # The steps of the narrowest model, some of which are not reached, vary by far more than the
    # effect, so that means over cells are in no order; within five of six cells all ranks are.
    def curve(keys, seed, steps):
        width, heads = keys["model.d_model"], keys["model.n_heads"]
        spread = 0.6 if width == 8 else 0.02
        log = np.log(3000 / width) + spread * draw(keys, seed, 2) - 0.15 * (heads == 1)
        return np.where(steps < np.exp(log), 2.0, 0.01)

    widths = {"model.d_model": [8, 16, 24, 32, 48, 64], "model.n_heads": [1, 4]}
    measure = "steps_to(loss, 0.1)"
    asked = grid(steps=400, seeds=5, grid=widths, expect=[f"{measure} is lower {CELLS}"])
    (found,) = verdicts(*fill(tmp_path / "lab", asked, curve))
    assert found.outcome == "held", found.evidence
    assert "ranks up to step 400" in found.evidence


def test_steps_of_sparse_evaluations_are_no_groups_to_either(tmp_path):
    """Evaluated every 50 steps, seven of eight runs are there at 100 and one at 200."""

    def curve(keys, seed, steps):
        at = 200 if (keys["model.n_heads"], seed) == (1, 3) else 100
        losses = np.where(steps >= at, 0.05, 1.0)
        return {
            "train_loss": np.ones(len(steps)),
            "eval_loss": np.where(steps % 50 == 0, losses, np.nan),
        }

    measure, axis = "steps_to(eval_loss, 0.1)", {"model.n_heads": [1, 4]}
    asked = grid(steps=400, seeds=4, grid=axis, expect=[f"{measure} is higher {CELLS}"])
    store, record = fill(tmp_path / "lab", asked, curve)
    (verdict,) = verdicts(store, record)
    (effect,) = experiment_effects(store, record, measure=measure).factorial
    assert effect.counts is None and not effect.ranked
    assert "group" not in verdict.evidence, verdict.evidence
    assert verdict.p == pytest.approx(effect.p)
