"""Two runs side by side, on made-up stores."""

import json

import numpy as np
import polars as pl
import pytest

from ablab.config import InputError
from ablab.logbook.compare_page import Request, compare
from ablab.logbook.compare_runs import first_difference
from tests.cli.command import run_command
from tests.logbook.test_browser import BROWSER, opened
from tests.read.filled import fill

ASKED = {
    "name": "rates",
    "question": "Which rate?",
    "task": {"kind": "addition", "n_digits": 2},
    "model": {"d_model": 8, "n_heads": 1},
    "train": {"steps": 40, "batch_size": 16},
    "grid": {"train.lr": [1e-3, 1e-2]},
    "seeds": 2,
}


def curve(keys, seed, steps):
    """Equal for both rates up to step 25, and then falling faster for the larger one."""
    fall = 0.01 if keys["train.lr"] == 1e-3 else 0.02
    return 2.0 - seed - fall * np.maximum(steps - 25, 0)


@pytest.fixture
def stored(tmp_path):
    store, record = fill(tmp_path / "lab", ASKED, curve)
    return store, {(run.variant["train.lr"], run.seed): run.run for run in store.runs(record)}


def test_settings_and_the_first_step_that_differs(stored):
    store, runs = stored
    found = compare(store, Request((runs[1e-3, 0], runs[1e-2, 0])))
    settings, values = found.tables
    assert settings.rows == [["train.lr", "0.001", "0.01"]]
    assert values.rows[0] == ["status", "finished", "finished"]
    # At step 26: 2 - 0.01 and 2 - 0.02.
    assert found.findings == [
        "Both runs saw the same batches (equal seed, task and batch size). Their training losses "
        "first differ by more than 0.01% at step 26: 1.99 vs 1.98."
    ]


def test_runs_of_other_seeds_saw_other_batches(stored):
    store, runs = stored
    found = compare(store, Request((runs[1e-3, 0], runs[1e-3, 1])))
    assert found.tables[0].rows == [["seed", "0", "1"]]
    assert found.findings == []


def test_the_first_difference_is_looked_for_at_common_steps():
    one = pl.DataFrame({"step": [1, 2, 4, 5], "train_loss": [1.0, 0.5, 0.25, 0.1]})
    other = pl.DataFrame({"step": [1, 3, 4, 5], "train_loss": [1.00001, 9.0, 0.2501, 0.1]})
    # 0.2501 is 0.04% above 0.25; 1.00001 is within 0.01% of 1.
    assert first_difference(one, other) == (3, (4, 0.25, 0.2501))
    assert first_difference(one, one) == (4, None)
    assert first_difference(one.drop("train_loss"), one) == (0, None)


def test_runs_and_experiments_are_not_mixed(stored):
    store, runs = stored
    one, two, three, _ = runs.values()
    with pytest.raises(InputError, match="experiments are compared with experiments"):
        compare(store, Request(("rates", one)))
    with pytest.raises(InputError, match="two at a time"):
        compare(store, Request((one, two, three)))
    with pytest.raises(InputError, match="the same run was given twice"):
        compare(store, Request((one, one[:8])))
    with pytest.raises(InputError, match="without a measure"):
        compare(store, Request((one, two), "final(loss)"))


def test_the_command_prints_writes_and_keeps_notes(stored):
    store, runs = stored
    pair, at = (runs[1e-3, 0], runs[1e-2, 0]), ("--store", str(store.path))
    code, out, _ = run_command("compare", *pair, "--name", "pair", *at)
    assert code == 0
    assert "Settings that differ" in out
    assert 'conclusions: ablab note compare-pair "…"' in out
    code, out, _ = run_command("note", "compare-pair", "The larger rate is faster.", *at, "--json")
    assert (code, json.loads(out)["comparison"]) == (0, "compare-pair")
    page = store.path / "logbook" / "compare-pair" / "index.html"
    assert "The larger rate is faster." in page.read_text()
    code, out, _ = run_command("compare", *pair, *at, "--json")
    found = json.loads(out)
    assert found["first_difference"] == {"step": 26, "first": 1.99, "second": 1.98}
    assert found["differing"] == {"train.lr": [1e-3, 1e-2]}


def test_wrong_input_writes_nothing(stored):
    store, _ = stored
    code, out, err = run_command("compare", "rates", "rate", "--store", str(store.path))
    assert (code, out) == (2, "")
    assert "did you mean rates?" in err
    assert not (store.path / "logbook").exists()


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")
def test_the_page_shows_both_curves(stored, tmp_path):
    store, runs = stored
    pair = (runs[1e-3, 0], runs[1e-2, 0])
    assert run_command("compare", *pair, "--name", "pair", "--store", str(store.path))[0] == 0
    page = store.path / "logbook" / "compare-pair" / "index.html"
    text, said = opened(page.absolute(), "", tmp_path / "browser")
    assert said == []
    assert '<div class="u-over"' in text
    assert "Variants: 2 of 2 shown" in text
