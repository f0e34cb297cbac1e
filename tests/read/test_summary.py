import statistics

import numpy as np
import polars as pl
import pytest

from ablab.read.summary import (
    Final,
    Spread,
    early_note,
    early_words,
    final_values,
    last_values,
    summarise,
    table,
)
from ablab.store.metrics import experiment_metrics, experiment_runs, unwatched_columns
from tests.read.filled import fill, grid
from tests.store.makers import train


def test_a_spread_shows_the_median_and_the_range():
    assert str(Spread((2.2994, 0.1188, 2.3034))) == "2.30 [0.119, 2.30]"
    assert str(Spread((0.00123, 0.00125))) == "0.00124 [0.00123, 0.00125]"
    assert str(Spread((2.345678,))) == "2.35"
    assert str(Spread((1.0, 1.0, 1.0))) == "1.00"
    assert str(Spread((1234.5,))) == "1,234"
    assert Spread((5.0,)).deviation is None


def test_a_runs_values_are_those_at_its_end():
    frame = pl.DataFrame(
        {
            "run": ["a", "a", "a", "b", "b"],
            "step": [1, 2, 3, 1, 2],
            "train_loss": [3.0, 2.0, 1.0, 5.0, float("nan")],
            "eval_loss": [None, 2.5, None, None, None],
        }
    )
    assert last_values(frame, {"a": 2, "b": 2}) == {
        "a": {"train_loss": 2.5, "eval_loss": 2.5},
        "b": {},
    }
    assert last_values(frame, {"a": 3, "b": 1}) == {
        "a": {"train_loss": 2.0},
        "b": {"train_loss": 5.0},
    }


def test_a_run_without_an_evaluation_at_its_end_has_its_last_one():
    frame = pl.DataFrame(
        {
            "run": ["a", "a", "a", "b", "b"],
            "step": [1, 2, 3, 1, 2],
            "train_loss": [3.0, 2.0, 1.0, 5.0, 4.0],
            "eval_loss": [2.75, 2.5, None, None, 3.5],
        }
    )
    ends = {"a": 3, "b": 2}
    found = final_values(frame, ends)
    assert found["a"] == {"train_loss": Final(2.0, 3), "eval_loss": Final(2.5, 2)}
    assert found["b"]["eval_loss"] == Final(3.5, 2)
    assert early_words(found, ends) == (
        "Held-out values are of the last evaluation that each run has: of 1 of 2 runs at their "
        "last step, of 1 up to 1 step earlier."
    )
    assert early_words({"b": found["b"]}, ends) == ""
    words = "Held-out values are of the last evaluation that each run has: "
    assert early_words({"a": found["a"]}, ends) == f"{words}1 step before its last step."
    assert early_words(found, {"a": 5, "b": 3}) == (
        f"{words}of 2 of 2 runs up to 3 steps before their last step."
    )


def test_runs_that_diverged_or_were_never_evaluated_are_not_on_time(tmp_path):
    """Of four runs, one has its last evaluation at step 40 of 60, one has none, one diverged."""

    def curve(keys, seed, steps):
        if seed == 3:
            return None
        there = (steps % 20 == 0) & (steps <= (60, 40, 0)[seed])
        return {"train_loss": 1.0 + 0 * steps, "eval_loss": np.where(there, 1.0, np.nan)}

    store, record = fill(tmp_path / "lab", grid(steps=60, seeds=4, grid={}), curve)
    found = summarise(store, record)
    assert early_note(found) == (
        "Held-out values are of the last evaluation that each run has: of 1 of 3 runs at their "
        "last step, of 1 up to 20 steps earlier, 1 has none."
    )
    runs = [run for run in experiment_runs(store, record) if run.status != "diverged"]
    ends = {run.run: run.step for run in runs}
    finals = final_values(experiment_metrics(store, record, unwatched_columns), ends)
    assert early_words(finals, ends) == early_note(found)


def test_without_any_evaluation_nothing_is_said_of_it(tmp_path):
    asked = grid(steps=20, seeds=2, grid={})
    store, record = fill(tmp_path / "lab", asked, lambda keys, seed, steps: 1.0 + 0 * steps)
    assert early_note(summarise(store, record)) == ""


@pytest.mark.parametrize("broken", [float("inf"), float("nan")])
def test_a_last_evaluation_that_is_not_finite_is_not_replaced_by_an_earlier_one(broken):
    frame = pl.DataFrame(
        {
            "run": ["a", "a", "a", "b", "b", "b"],
            "step": [1, 2, 3, 1, 2, 3],
            "train_loss": [3.0, 2.0, 1.0, 3.0, 2.0, 1.0],
            "eval_loss": [2.5, 2.0, broken, 2.5, broken, None],
        }
    )
    found = final_values(frame, {"a": 3, "b": 3})
    assert "eval_loss" not in found["a"] and "eval_loss" not in found["b"]
    assert final_values(frame, {"a": 2, "b": 1})["a"]["eval_loss"] == Final(2.0, 2)


def test_the_training_loss_is_the_mean_over_the_last_logging_interval():
    frame = pl.DataFrame(
        {
            "run": ["a"] * 5,
            "step": [1, 2, 3, 4, 5],
            "train_loss": [9.0, 8.0, 3.0, 2.0, 1.0],
            "lr": [None, 0.1, None, None, 0.1],
        }
    )
    assert last_values(frame, {"a": 5}) == {"a": {"train_loss": 2.0}}
    assert last_values(frame, {"a": 4}) == {"a": {"train_loss": 2.5}}


def test_a_summary_is_the_mean_over_seeds(tmp_path, tiny):
    result = train(tiny, tmp_path / "lab", "seeds=3")
    first, second = summarise(result.store, result.record)
    assert (first.keys, second.keys) == ({"model.d_model": 8}, {"model.d_model": 16})
    assert first.statuses == {"finished": 3}
    assert first.steps == (20, 20)
    losses = [run.eval_loss for run in result.runs[:3]]
    assert first.measures["eval_loss"].mean == pytest.approx(statistics.fmean(losses))
    assert first.measures["eval_loss"].deviation == pytest.approx(statistics.stdev(losses))
    header, rows = table([first, second])
    assert header[:4] == ["model.d_model", "parameters", "steps", "runs"]
    assert rows[0][:4] == ["8", "1,140", "20", "3 finished"]
