"""A check finds each missing training loss, and reads the metrics of sound runs once."""

import shutil
import subprocess
import sys

import polars as pl
import pytest

from ablab.store import Store, check
from ablab.store.check import check_store
from ablab.store.metrics import append_rows, read_runs
from ablab.store.parts import list_parts
from tests.store.makers import WILD, train

STEPS = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with two runs, and their ids."""
    lab = tmp_path_factory.mktemp("check") / "lab"
    done = train(WILD, lab, f"train.steps={STEPS}", engine="solo")
    runs = [each.run for each in done.runs]
    done.store.close()
    return lab, runs


@pytest.fixture
def store(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "lab")
    return Store(tmp_path / "lab")


@pytest.fixture
def slow(monkeypatch):
    """The runs whose metrics were read again."""
    found = []

    def reading(store, runs, wanted):
        found.extend(runs)
        return read_runs(store, runs, wanted)

    monkeypatch.setattr(check, "read_runs", reading)
    return found


def rewrite(store, *groups):
    """Replaces all parts by one for each group of conditions, in this order."""
    (rows,) = [read_runs(store, sorted({run for part in list_parts(store) for run in part.runs}))]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM parts")
    for path in (store.path / "metrics").iterdir():
        path.unlink()
    for group in groups:
        append_rows(store, rows.filter(group))


def test_sound_runs_are_not_read_again(store, slow):
    assert check_store(store).problems == []
    assert slow == []


@pytest.mark.parametrize("gap", [1, 5, STEPS])
def test_a_missing_loss_is_found(store, trained, slow, gap):
    one = trained[1][0]
    rewrite(store, (pl.col("run") != one) | (pl.col("step") != gap))
    found = check_store(store)
    assert found.gaps == {one: gap}
    assert found.problems == [f"run {one}: {STEPS - 1} training losses, but {STEPS} steps"]
    assert slow == [one]


def test_a_gap_between_parts_is_found(store, trained):
    one = trained[1][0]
    mine, step = pl.col("run") == one, pl.col("step")
    rewrite(store, ~mine | (step < 4), mine & (step > 4) & (step < 9), mine & (step >= 9))
    assert check_store(store).gaps == {one: 4}


def test_parts_may_have_steps_in_any_order(store, trained, slow):
    one = trained[1][0]
    mine, step = pl.col("run") == one, pl.col("step")
    rewrite(store, mine & (step >= 6), ~mine, mine & (step < 8))
    assert check_store(store).problems == []
    assert slow == [one], "it is not known to be complete before all of its rows are together"


def test_losses_in_a_part_that_is_not_listed_for_their_run_do_not_count(store, trained):
    one = trained[1][0]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM part_runs WHERE run = ?", (one,))
        connection.execute("DELETE FROM shares WHERE run = ?", (one,))
    assert check_store(store).gaps == {one: 1}


def test_checking_does_not_import_torch():
    code = (
        "import sys, ablab.store.check, ablab.store.index_repair, ablab.store.repair;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
