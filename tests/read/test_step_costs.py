"""Tokens, seconds and arithmetic of a step of stored runs."""

from dataclasses import replace

import numpy as np
import pytest

from ablab.read.step_costs import step_costs
from tests.read.filled import fill, leaving

ASKED = {
    "name": "costs",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"d_model": 8, "n_heads": 2, "n_layers": 1},
    "train": {"steps": 40, "batch_size": 16},
    "grid": {"model.n_heads": [1, 2]},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    def curve(keys, seed, steps):
        return leaving(np.random.default_rng(seed), steps, at=10)

    store, record = fill(tmp_path_factory.mktemp("costs") / "lab", ASKED, curve)
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET seconds = 6 + 2 * seed, n_params = 1000")
    return store, record


def test_costs_of_a_step(filled):
    store, record = filled
    runs = store.runs(record)
    found = step_costs(store, record, runs)
    length = 8  # 12+34=046: two operands, + and =, and the answer except its last digit
    for run in runs:
        costs = found[run.run]
        assert costs.tokens == 16 * length
        assert costs.seconds == (6 + 2 * run.seed) / 40
        # 6 · 1,000 operations per token, and 12 · 1 layer · length · 8 wide.
        assert costs.flops.flops == 16 * length * (6_000 + 96 * length)


def test_lengths_of_a_shipped_task_are_known_without_its_registration(filled):
    store, record = filled
    runs = store.runs(record)
    assert step_costs(store, replace(record, registration=None), runs) == step_costs(
        store, record, runs
    )


def test_what_is_not_known_is_none(filled):
    store, record = filled
    (run, *_) = store.runs(record)
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET seconds = 0, n_params = NULL WHERE id = ?", (run.run,))
    costs = step_costs(store, record, [run])[run.run]
    assert (costs.seconds, costs.flops) == (None, None)
