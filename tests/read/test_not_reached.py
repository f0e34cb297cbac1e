"""Verdicts on steps that some runs did not reach; each of these once held with their last steps."""

import json

import numpy as np
import pytest

from ablab.read.verdicts import verdicts
from tests.read.filled import fill, grid

HEADS = {"model.n_heads": [1, 4]}
CELLS = "where model.n_heads=1 than where model.n_heads=4"
MODULAR = {"kind": "modular", "p": 23}


def judged(path, asked, reach, ended=None):
    """The verdicts on curves that fall to 0.01 at the step ``reach(keys, seed)``; None: diverged.

    ``ended`` gives the steps at which a stop rule ended the runs of a cell.
    """

    def curve(keys, seed, steps):
        step = reach(keys, seed)
        return None if step is None else np.where(steps < step, 2.0, 0.01)

    store, record = fill(path / "lab", asked, curve)
    if ended:
        with store.index.transaction() as connection:
            for row in store.members(record.id):
                step = ended(json.loads(row["variant"]))
                change = (step, row["run"])
                if step is not None:
                    connection.execute("UPDATE members SET stopped = ? WHERE run = ?", change)
                    connection.execute("UPDATE runs SET step = ? WHERE id = ?", change)
    return verdicts(store, record)


def compared(path, relation, reach, seeds=9, ended=None):
    texts = [f"steps_to(loss, 0.1) {relation}"]
    asked = grid(steps=400, seeds=seeds, grid=HEADS, expect=texts)
    (found,) = judged(path, asked, reach, ended)
    return found


def never(keys, seed):
    return 1000


def narrow_late(keys, seed):
    return 100 + 7 * seed if keys["model.n_heads"] == 1 else 1000


def test_nothing_reached_in_either_cell_is_not_the_same(tmp_path):
    asked = "is the same where model.n_heads=1 as where model.n_heads=4 within 5"
    found = compared(tmp_path, asked, never)
    assert found.outcome == "undecided"
    assert found.state == "not tested"
    assert found.evidence.startswith("reached by 0 of 9, and by 0 of 9; nothing to compare")
    assert found.counts == ((0, 9), (0, 9))
    assert found.value is None


def test_cells_that_end_at_different_steps_are_in_no_order(tmp_path):
    texts = ["steps_to(loss, 0.1) falls with train.batch_size"]
    asked = grid(
        task=MODULAR, train={"epochs": 20}, seeds=6, grid={"train.batch_size": [16, 32, 64]},
        expect=texts,
    )  # fmt: skip
    (found,) = judged(tmp_path, asked, never)
    assert found.outcome == "undecided"
    assert "0 of 6 at 16, 0 of 6 at 32, 0 of 6 at 64" in found.evidence


def test_what_only_one_cell_was_trained_to_decides_nothing(tmp_path):
    cells = "where train.batch_size=64 than where train.batch_size=16"
    asked = grid(
        task=MODULAR, train={"epochs": 20}, seeds=6, grid={"train.batch_size": [16, 64]},
        expect=[f"steps_to(loss, 0.1) is {how} {cells}" for how in ("higher", "lower")],
    )  # fmt: skip
    late = judged(tmp_path / "1", asked, lambda keys, seed: 120)  # the other had no time for it
    assert [each.outcome for each in late] == ["undecided"] * 2
    assert "ranks up to step 50, the last that every cell was trained to: p = 1" in late[0].evidence

    def reach(keys, seed):
        return 20 + seed if keys["train.batch_size"] == 16 else 1000

    early = judged(tmp_path / "2", asked, reach)
    assert [each.outcome for each in early] == ["held", "failed"]


def test_one_run_of_twelve_decides_nothing(tmp_path):
    found = compared(
        tmp_path, f"is lower {CELLS} by 10",
        lambda keys, seed: 60 if (keys["model.n_heads"], seed) == (1, 0) else 1000,
        seeds=6, ended=lambda keys: 100 if keys["model.n_heads"] == 1 else None,
    )  # fmt: skip
    assert found.outcome == "undecided"
    assert "reached by 1 of 6 (step 67), and by 0 of 6" in found.evidence
    assert "5 of the other runs were ended by a stop rule" in found.evidence


def test_both_cells_are_counted_and_ranks_decide(tmp_path):
    found = compared(tmp_path / "1", f"is lower {CELLS}", narrow_late)
    assert found.outcome == "held"
    assert found.evidence.startswith(
        "reached by 9 of 9 (median step 135), and by 0 of 9; ranks up to"
    )
    assert found.p < 0.001
    against = compared(tmp_path / "2", f"is higher {CELLS}", narrow_late)
    assert against.outcome == "failed"
    apart = "is the same where model.n_heads=1 as where model.n_heads=4 within 5"
    assert compared(tmp_path / "3", apart, narrow_late).outcome == "failed"
    few = compared(tmp_path / "4", apart, narrow_late, seeds=3)
    assert (few.outcome, few.state) == ("undecided", "undecided")
    # Of the 6 choose 3 = 20 choices, the two extreme ones; twice, as there are two ways to differ.
    assert few.p == pytest.approx(0.2)


@pytest.mark.parametrize(("by", "outcome"), [(100, "held"), (300, "undecided")])
def test_a_least_difference_counts_up_to_the_common_step(tmp_path, by, outcome):
    found = compared(tmp_path, f"is lower {CELLS} by {by}", narrow_late)
    assert found.outcome == outcome


def test_three_seeds_cannot_decide_and_that_is_said(tmp_path):
    found = compared(tmp_path, f"is lower {CELLS}", narrow_late, seeds=3)
    assert found.outcome == "undecided"
    assert found.p == pytest.approx(0.1)
    assert "3 vs 3 seeds cannot give less than 0.1" in found.evidence


def test_runs_that_a_stop_rule_ended_count_as_what_is_worst_for_the_claim(tmp_path):
    def ended(keys):
        return 50 if keys["model.n_heads"] == 4 else None

    # Ended at 50 without it: they may have reached it at 51, before those that did at 93 or later.
    found = compared(tmp_path / "1", f"is lower {CELLS}", narrow_late, ended=ended)
    assert found.outcome == "undecided"
    late = compared(tmp_path / "2", f"is lower {CELLS}", narrow_late, ended=lambda keys: 200)
    assert late.outcome == "held"


def test_runs_that_diverged_never_reach_it(tmp_path):
    def reach(keys, seed):
        return 100 + 7 * seed if keys["model.n_heads"] == 1 else None

    found = compared(tmp_path, f"is lower {CELLS}", reach)
    assert found.outcome == "held"
    assert "and by 0 of 9" in found.evidence
    assert "9 of the other runs diverged" in found.evidence


WIDTHS = {"model.d_model": [8, 16, 32]}


@pytest.mark.parametrize(
    ("steps", "outcome", "words"),
    [
        ({8: 1000, 16: 300, 32: 100}, "held", "0 of 5 at 8, 5 of 5 at 16"),
        ({8: 1000, 16: 1000, 32: 100}, "undecided", "no order is known from 8 to 16"),
        ({8: 1000, 16: 100, 32: 300}, "undecided", "opposite direction from 16 to 32"),
        ({8: 100, 16: 300, 32: 1000}, "failed", "5 of 5 at 8"),
    ],
)
def test_an_order_of_cells(tmp_path, steps, outcome, words):
    texts = ["steps_to(loss, 0.1) falls with model.d_model"]
    asked = grid(steps=400, grid=WIDTHS, expect=texts)
    (found,) = judged(tmp_path, asked, lambda keys, seed: steps[keys["model.d_model"]] + 3 * seed)
    assert (found.outcome, words in found.evidence) == (outcome, True), found.evidence


def test_no_factor_is_made_of_last_steps(tmp_path):
    texts = ["steps_to(loss, 0.1) falls with model.d_model by a factor between 1 and 9"]
    asked = grid(steps=400, grid=WIDTHS, expect=texts)
    (found,) = judged(tmp_path, asked, lambda keys, seed: 3200 / keys["model.d_model"] + 3 * seed)
    assert found.outcome == found.state == "undecided"
    assert found.evidence.endswith(
        "; no factor can be given of steps that were not reached, and the opposite order is not "
        "shown: ranks up to step 400, p = 1"
    )


@pytest.mark.parametrize(
    ("text", "seeds", "outcome"),
    [
        ("below 100", 5, "failed"),
        ("above 300", 5, "held"),
        ("above 500", 5, "undecided"),
        ("below 100", 3, "undecided"),
        ("between 10 and 100", 6, "failed"),
        ("below 100", 1, "failed"),
    ],
)
def test_a_range_of_steps_that_no_run_reached(tmp_path, text, seeds, outcome):
    asked = grid(steps=400, seeds=seeds, grid=HEADS, expect=[f"steps_to(loss, 0.1) is {text}"])
    (found,) = judged(tmp_path, asked, never)
    assert found.outcome == outcome, found.evidence
    assert found.evidence.startswith(f"reached by 0 of {2 * seeds} up to step 400")


def test_a_range_of_steps_that_most_runs_reached(tmp_path):
    asked = grid(seeds=12, grid={"model.d_model": [8]}, expect=["steps_to(loss, 0.1) is below 200"])
    (found,) = judged(tmp_path, asked, lambda keys, seed: 1000 if seed == 0 else 50)
    assert found.outcome == "held"
    assert found.evidence.startswith("reached by 11 of 12 (step 57)")


def test_the_same_is_of_runs_that_reached_it(tmp_path):
    asked = "is the same where model.n_heads=1 as where model.n_heads=4 within 50"
    found = compared(
        tmp_path, asked, lambda keys, seed: 100 + seed * keys["model.n_heads"], seeds=3
    )
    assert found.outcome == "held"
    assert found.evidence.endswith(
        "for runs that reached it: after 3 of 3, up to 71% of runs may be of another kind"
    )
