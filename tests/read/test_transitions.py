"""Measures of rises and transitions, over stored runs."""

import numpy as np
import pytest

from ablab.read.measures import measure_table
from ablab.read.pairs import experiment_pairs
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Seed 0 generalises at 200, seed 1 never; seed 2 has no held-out values."""
    rng = np.random.default_rng(0)

    def noisy(clean):
        return clean * np.exp(0.01 * rng.standard_normal(len(clean)))

    def curve(keys, seed, steps):
        training = 4.6 * np.exp(-8 / (1 + (steps / 40) ** -6.0))
        late = 1 / (1 + (steps / 200) ** -20.0)
        if seed == 1:
            late = np.zeros(len(steps))
        held_out = 4.6 * np.exp(0.7 / (1 + (steps / 40) ** -6.0) - 5 * late)
        accuracy = np.clip(0.02 + 0.98 * late + 0.002 * rng.standard_normal(len(steps)), 0, 1)
        columns = {"train_loss": noisy(training)}
        if seed < 2:
            columns |= {"eval_loss": noisy(held_out), "eval_accuracy": accuracy}
        return columns

    made = grid(seeds=3) | {"grid": {"model.d_model": [8]}}
    return fill(tmp_path_factory.mktemp("store") / "lab", made, curve)


def of(stored, text):
    frame = measure_table(*stored, text)
    return {row["seed"]: row for row in frame.iter_rows(named=True)}


def test_the_highest_value_of_a_column(stored):
    found = of(stored, "highest(eval_loss)")
    assert found[1]["value"] == pytest.approx(4.6 * np.exp(0.7), rel=0.05)
    assert found[2]["reason"] == "not logged"


def test_a_transition_has_a_step_or_is_not_reached(stored):
    for text in ("transition(accuracy)", "transition(eval_loss)"):
        found = of(stored, text)
        assert found[0]["value"] == pytest.approx(200, abs=8), text
        assert (found[1]["value"], found[1]["not_before"]) == (None, 400), text
        assert found[1]["reason"] == "no transition by step 400"


def test_runs_are_read_together_with_their_held_out_loss(stored):
    store, record = stored
    runs = experiment_runs(store, record)
    found = {run.seed: experiment_pairs(store, record, [run]).get(run.run) for run in runs}
    assert found[0].generalised == pytest.approx(200, rel=0.1)
    assert found[0].delay == found[0].generalised - found[0].memorised
    assert found[1].memorised is not None and found[1].generalised is None
    assert found[2] is None
    assert experiment_pairs(store, record, runs) == {
        run.run: found[run.seed] for run in runs if run.seed < 2
    }
