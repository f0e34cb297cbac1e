"""Runs that are still at the loss of guessing did not learn: so the task declares it."""

import numpy as np
import polars as pl
import pytest

from ablab.experiments.measures import parse_measure
from ablab.read.effects import effects
from ablab.read.effects.stored import experiment_effects
from ablab.read.guessing import guessing_loss
from ablab.read.verdicts import verdicts
from tests.read.effects.made import grid as made
from tests.read.filled import fill, grid

ENDS = {1: [0.119, 2.299, 2.303], 4: [0.029, 0.269, 0.05]}
LOWER = "final(loss) is lower where model.n_heads=4 than where model.n_heads=1"


@pytest.fixture
def filled(tmp_path):
    def curve(keys, seed, steps):
        return np.full(len(steps), ENDS[keys["model.n_heads"]][seed])

    experiment = grid(steps=40, seeds=3, grid={"model.n_heads": [1, 4]}, expect=[LOWER])
    return fill(tmp_path / "lab", experiment, curve)


def test_effects_count_the_runs_that_learnt(filled):
    found = experiment_effects(*filled, measure="final(train_loss)")
    counts = found.marginal[0].counts
    assert counts.what == "learnt"
    assert {counts.value, counts.reference} == {(1, 3), (3, 3)}


def test_a_verdict_counts_them_first(filled):
    (found,) = verdicts(*filled)
    assert found.outcome == "undecided"
    assert found.evidence.startswith("3 of 3 vs 1 of 3 runs learnt")


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("final(loss)", np.log(10)), ("best(eval_loss)", np.log(10)), ("steps_to(loss, 1)", None),
     ("final(eval_accuracy)", None), ("noise(loss)", None)],
)  # fmt: skip
def test_only_values_of_the_loss_have_one(filled, measure, expected):
    found = guessing_loss(filled[1], parse_measure(measure))
    assert found == (None if expected is None else pytest.approx(expected))


def cells(heads, layers, seed):
    """Runs of one head and one layer guess; the others learn, at levels of their own."""
    if (heads, layers) == (1, 1) and seed < 2:
        return 2.30 + 0.001 * seed
    return (0.1 if heads == 1 else 0.02) * (1 + 0.05 * seed + 0.01 * layers)


def test_cells_without_learners_are_named_where_levels_are_averaged():
    frame = made({"heads": [4, 1], "layers": [1, 2]}, 3, cells)
    found = effects(frame, ["heads", "layers"], better="lower", guessing=np.log(10))
    (heads, *_) = found.factorial
    assert (heads.counts.value, heads.counts.reference) == ((4, 6), (6, 6))
    assert (heads.cells, heads.pairs) == (1, 6)
    assert any("levels are of 1 of 2 cells" in note for note in found.notes())


def test_runs_that_a_stop_rule_ended_are_mentioned():
    frame = made({"heads": [4, 1]}, 3, lambda heads, seed: 1e-3 * (1 + 0.1 * seed + 0.01 * heads))
    ended = frame.with_columns(status=pl.Series(["stopped"] * 4 + ["finished"] * 2))
    (note,) = [each for each in effects(ended, ["heads"]).notes() if "stop rule" in each]
    assert note.startswith("4 of 6 runs were ended by a stop rule")
    assert not any("stop rule" in each for each in effects(frame, ["heads"]).notes())
