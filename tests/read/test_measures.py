import numpy as np
import pytest

from ablab.config import InputError
from ablab.read.measures import measure_table
from ablab.read.readings import experiment_readings
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid, leaving


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    rng = np.random.default_rng(0)

    def curve(keys, seed, steps):
        width, heads = keys["model.d_model"], keys["model.n_heads"]
        if (width, heads, seed) == (32, 4, 4):
            return None
        if (width, heads) == (8, 1):
            return leaving(rng, steps, 10_000)
        columns = {"train_loss": leaving(rng, steps, 3200 / width)}
        watched = np.full(len(steps), np.nan)
        watched[9::10] = width
        evaluated = np.full(len(steps), np.nan)
        evaluated[-1] = heads
        return columns | {"grad/model/rms": watched, "eval_loss": evaluated}

    return fill(tmp_path_factory.mktemp("store") / "lab", grid(), curve)


def of(stored, text):
    frame = measure_table(*stored, text)
    return {
        (row["model.d_model"], row["model.n_heads"], row["seed"]): row
        for row in frame.iter_rows(named=True)
    }


def test_the_step_at_which_a_level_is_left(stored):
    found = of(stored, "leaves(log(10))")
    assert found[16, 1, 0]["value"] == pytest.approx(200, abs=5)
    assert found[32, 1, 2]["value"] == pytest.approx(100, abs=5)
    stuck = found[8, 1, 0]
    assert (stuck["value"], stuck["not_before"]) == (None, 400)
    assert stuck["reason"] == "not left by step 400"
    assert (found[32, 4, 4]["value"], found[32, 4, 4]["not_before"]) == (None, None)
    assert found[32, 4, 4]["reason"] == "never at 2.303; diverged at step 10"


def test_final_best_and_steps_to(stored):
    final = of(stored, "final(loss)")[32, 1, 0]["value"]
    assert final == pytest.approx(np.log(10) * np.exp(-0.02 * 300) + 1e-4, rel=0.1)
    assert of(stored, "loss")[32, 1, 0]["value"] == final
    assert of(stored, "best(loss)")[32, 1, 0]["value"] == pytest.approx(final, rel=0.2)
    reached = of(stored, "steps_to(loss, 0.1)")
    assert reached[32, 1, 0]["value"] == pytest.approx(100 + np.log(np.log(10) / 0.1) / 0.02, abs=5)
    assert reached[8, 1, 0]["not_before"] == 400
    assert of(stored, "eval_loss")[16, 4, 0]["value"] == 4


def test_how_long_after_the_training_loss(tmp_path):
    def curve(keys, seed, steps):
        held_out = np.where(steps % 10 == 0, np.where(steps < 250, 5.0, 0.01), np.nan)
        if seed == 1:
            held_out = np.where(steps % 10 == 0, 5.0, np.nan)
        return {"train_loss": np.where(steps < 100, 2.0, 0.01), "eval_loss": held_out}

    found = of(fill(tmp_path / "lab", grid(seeds=2), curve), "lag(eval_loss, 0.1)")
    assert found[8, 1, 0]["value"] == pytest.approx(150, abs=8)
    assert found[8, 1, 1]["value"] is None
    assert found[8, 1, 1]["not_before"] == pytest.approx(300, abs=8)
    assert found[8, 1, 1]["reason"] == "not reached by step 400"


def test_watched_columns_at_steps(stored):
    assert of(stored, "grad/model/rms at 100")[16, 1, 0]["value"] == 16
    assert "not logged at step 101" in of(stored, "at(grad/model/rms, 101)")[16, 1, 0]["reason"]
    assert of(stored, "mean(grad/model/rms, 1, 50)")[32, 1, 0]["value"] == 32


def test_a_step_that_no_run_was_trained_to_is_said_as_that(stored):
    for measure in ("at(loss, 9804)", "mean(loss, 9804, 9900)"):
        assert of(stored, measure)[16, 1, 0]["reason"] == "ended before step 9,804 (at 400)"


def test_a_mean_is_only_of_runs_that_were_trained_to_its_last_step(stored):
    found = of(stored, "mean(loss, 390, 401)")[16, 1, 0]
    assert (found["value"], found["reason"]) == (None, "ended before step 401 (at 400)")
    assert of(stored, "mean(loss, 390, 400)")[8, 1, 0]["value"] == pytest.approx(2.3, abs=0.02)


def test_words_and_counts(stored):
    diverged = of(stored, "diverged")
    assert diverged[32, 4, 4]["value"] == 1
    assert sum(row["value"] for row in diverged.values()) == 1
    assert of(stored, "spikes(loss)")[16, 1, 0]["value"] == 0
    assert of(stored, "plateaus(loss)")[16, 1, 0]["value"] == 1


def test_counts_between_two_values_or_steps(tmp_path):
    def curve(keys, seed, steps):
        rng = np.random.default_rng(seed)
        fall = np.where(steps < 200, 0.05, 0.005) * (steps - 200) - np.log(1e-3)
        level = np.where(steps < 60, 0.8, np.exp(-fall) + 1e-9)
        loss = np.minimum(0.8, level) * np.exp(0.02 * rng.normal(size=len(steps)))
        loss[300] *= 30
        loss[301:304] *= [12, 5, 2]
        return {"train_loss": loss}

    stored = fill(tmp_path / "lab", grid(seeds=1), curve)

    def count(text):
        return of(stored, text)[8, 1, 0]["value"]

    assert count("plateaus(loss)") == count("plateaus(loss, 0.7, 0.9)") == 1
    assert count("plateaus(loss, 0.9, 2.4)") == 0
    assert count("spikes(loss)") == count("spikes(loss, 290, 310)") == 1
    assert count("spikes(loss, 0, 290)") == count("spikes(loss, 310, 400)") == 0
    assert count("slowdowns(loss)") == count("slowdowns(loss, 5e-4, 2e-3)") == 1
    assert count("slowdowns(loss, 2e-3, 1)") == 0
    assert count("noise(loss)") == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spikes(loss, 200)", "wrong arguments"),
        ("plateaus(loss, 0.9, 0.7)", "the first number is greater than the second"),
        ("floor(loss, 1, 2)", "wrong arguments"),
        ("noise", "needs arguments"),
    ],
)
def test_what_counts_take_is_said(stored, text, message):
    with pytest.raises(InputError, match=message):
        measure_table(*stored, text)


def test_what_was_not_logged_is_said(stored):
    with pytest.raises(InputError, match="no column eval_los was logged"):
        measure_table(*stored, "eval_los")


def test_readings_are_kept_in_the_index(stored):
    store, record = stored
    runs = experiment_runs(store, record)
    first = experiment_readings(store, record, runs)
    assert store.index.rows("SELECT count(*) n FROM readings WHERE column = 'train_loss'")[0][
        "n"
    ] == len(runs)
    assert experiment_readings(store, record, runs) == first


def test_a_run_that_diverged_has_not_reached_the_step_or_reached_it_before(tmp_path):
    stored = fill(tmp_path / "lab", grid(), lambda keys, seed, steps: None)  # 1 until step 10
    never = of(stored, "steps_to(loss, 0.5)")[8, 1, 0]
    assert (never["value"], never["not_before"], never["status"]) == (None, 10, "diverged")
    assert never["reason"] == "not reached by step 10; diverged at step 10"
    reached = of(stored, "steps_to(loss, 1)")[8, 1, 0]
    assert (reached["value"], reached["not_before"]) == (1, None)
    assert reached["reason"] == "diverged at step 10"
    assert of(stored, "final(loss)")[8, 1, 0]["reason"] == "diverged at step 10"
