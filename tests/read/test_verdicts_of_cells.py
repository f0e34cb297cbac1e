"""Verdicts on cells whose runs have ended, while others of the grid are planned or train."""

import numpy as np
import pytest

from ablab.read.verdicts import judge
from ablab.store.expected import stamped
from tests.read.filled import fill, grid

FINAL, NARROW = {"measure": "final(loss)"}, {"model.d_model": 8}
EXPECT = [
    FINAL | {"claim": "32 beats 8", "where": {"model.d_model": 32}, "lower_than": NARROW},
    FINAL | {"claim": "8 is above one", "where": {"model.d_model": 8}, "above": 1},
    FINAL | {"claim": "16 is above one", "where": {"model.d_model": 16}, "above": 1},
    FINAL | {"claim": "wider is better", "falls_with": "model.d_model"},
    FINAL | {"claim": "all are above zero", "above": 0},
]  # fmt: skip


def curve(keys, seed, steps):
    rng = np.random.default_rng((seed, keys["model.d_model"]))
    return np.full(len(steps), 2 - 0.02 * keys["model.d_model"] + 0.01 * rng.standard_normal())


def filled(path):
    asked = grid(steps=50, expect=EXPECT)
    asked["grid"] = {"model.d_model": [8, 16, 32]}
    return fill(path, asked, curve)


def verdicts(store, record):
    return {each.expectation.text: judge(store, record, each) for each in stamped(store, record)}


def set_back(store, width, count):
    """Makes runs of a width look as if they had only been planned."""
    runs = [run.run for run in store.runs() if run.variant["model.d_model"] == width]
    with store.index.transaction() as connection:
        for run in runs[:count]:
            connection.execute("UPDATE runs SET step = 0 WHERE id = ?", (run,))


def test_only_the_runs_that_a_claim_is_about_have_to_end(tmp_path):
    store, record = filled(tmp_path / "lab")
    before = verdicts(store, record)
    set_back(store, 16, 5)
    found = verdicts(store, record)
    for claim in ("32 beats 8", "8 is above one"):
        assert found[claim].outcome == before[claim].outcome == "held"
        assert found[claim].value == pytest.approx(before[claim].value)
    assert found["16 is above one"].evidence == "5 of 5 runs are not finished yet"
    for claim in ("wider is better", "all are above zero"):
        assert found[claim].outcome == "undecided"
        assert found[claim].evidence == "5 of 15 runs are not finished yet"


def test_a_cell_of_which_a_run_is_left_is_not_judged(tmp_path):
    store, record = filled(tmp_path / "lab")
    set_back(store, 8, 1)
    found = verdicts(store, record)
    assert found["8 is above one"].evidence == "1 of 5 runs is not finished yet"
    assert found["32 beats 8"].evidence == "1 of 10 runs is not finished yet"
    assert found["16 is above one"].outcome == "held"


def test_what_is_not_finished_does_not_change_what_is_found(tmp_path):
    """A cell that is not complete, with values over orders of magnitude, chooses no scale."""

    def skewed(keys, seed, steps):
        if keys["model.d_model"] == 16:
            return np.full(len(steps), 10.0**-seed)
        return curve(keys, seed, steps)

    asked = grid(steps=50, expect=EXPECT)
    alone = verdicts(*fill(tmp_path / "alone", asked | {"grid": {"model.d_model": [8, 32]}}, curve))
    asked["grid"] = {"model.d_model": [8, 16, 32]}
    store, record = fill(tmp_path / "lab", asked, skewed)
    whole = verdicts(store, record)
    set_back(store, 16, 1)
    found = verdicts(store, record)
    claim = "32 beats 8"
    assert found[claim].evidence == alone[claim].evidence
    assert whole[claim].evidence != alone[claim].evidence, "a complete cell does"
