"""A repair gives up nothing that is sound, and what is trained again is the same bit for bit."""

import json
import os
import shutil
import sqlite3
import time

import polars as pl
import pytest
import torch

import ablab
from ablab.store import Store, StoreError, compaction
from ablab.store import repair as repairing
from ablab.store.check import check_store
from ablab.store.leases import Owner
from ablab.store.metrics import append_rows
from ablab.store.repair import repair_store
from ablab.store.snapshots import read_parameters
from ablab.store.sums_sql import count_sums
from tests.cli.command import run_command
from tests.store.makers import WILD, flip, train

ASKED = ("train.steps=40", "train.snapshots={every: 10}")
CAPTURES = "watch.captures={what: logits, samples: 2, steps: [10, 40]}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store, its two runs, their metrics and last parameters."""
    lab = tmp_path_factory.mktemp("repair") / "lab"
    done = train(WILD, lab, *ASKED, CAPTURES, engine="solo")
    runs = [each.run for each in done.runs]
    last = {run: read_parameters(done.store, run, 40) for run in runs}
    metrics = done.metrics()
    done.store.close()
    return lab, runs, metrics, last


@pytest.fixture
def lab(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "lab")
    return tmp_path / "lab"


def parts(lab):
    """The metrics parts, the one with the first steps first."""
    files = list((lab / "metrics").iterdir())
    return sorted(files, key=lambda path: pl.read_parquet(path)["step"].max())


def spoil(lab, run):
    """Merges all parts into one and damages the rows of one run in it; returns its path."""
    store = Store(lab)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compaction, "_SMALL_PARTS", 1)
        compaction.compact(store)
    store.close()
    (path,) = parts(lab)
    wrong = pl.when(pl.col("run") == run).then(pl.col("train_loss") + 1).otherwise("train_loss")
    frame = pl.read_parquet(path).with_columns(wrong.alias("train_loss"))
    frame.write_parquet(path, compression="zstd")
    return path


def statuses(store):
    return {each.run: (each.status, each.step) for each in store.runs()}


def finish(lab, made):
    """Trains what is missing; the store is whole again, and the same as it was."""
    _, runs, metrics, last = made
    done = train(WILD, lab, *ASKED, CAPTURES, engine="solo")
    assert check_store(done.store).problems == []
    assert statuses(done.store) == dict.fromkeys(runs, ("finished", 40))
    again = done.metrics().select(metrics.columns)
    assert {
        (column, step)
        for column in metrics.columns
        for step, before, now in zip(metrics["step"], metrics[column], again[column], strict=True)
        if before != now
    } == set()
    for run in runs:
        again = read_parameters(done.store, run, 40)
        assert all(torch.equal(again[name], last[run][name]) for name in last[run])


def test_damaged_metrics_are_trained_again_from_the_snapshot_before(made, lab):
    store, runs = Store(lab), made[1]
    path = parts(lab)[-1]
    flip(path, 0.5)
    damaged = path.read_bytes()
    checked, actions = repair_store(store)
    (damage,) = checked.damages
    lost = {share.run: share.first for share in damage.lost}
    assert lost and min(lost.values()) == 31
    found = check_store(store)
    assert (found.problems, found.damages) == ([], [])
    assert statuses(store) == {
        run: ("interrupted", 30) if run in lost else ("finished", 40) for run in runs
    }
    for run in lost:
        assert any(f"steps 31 to 40 of run {run} are trained again" in a.what for a in actions)
    assert (lab / "damaged" / "metrics" / path.name).read_bytes() == damaged
    finish(lab, made)


def test_sound_rows_of_a_damaged_part_are_kept(made, lab):
    store, (one, other) = Store(lab), made[1]
    spoil(lab, one)
    (damage,) = check_store(store).damages
    assert (damage.whose, damage.sound) == (f"run {one}, steps 0 to 40", (other,))
    repair_store(store)
    assert statuses(store) == {one: ("planned", 0), other: ("finished", 40)}
    finish(lab, made)


def test_losses_of_a_run_that_is_set_back_are_those_of_its_step(made, lab):
    store, one = Store(lab), made[1][0]
    flip(lab / "snapshots" / one / "40.safetensors", 0.7)
    repair_store(store)
    (loss,) = (each.train_loss for each in store.runs() if each.run == one)
    rows = made[2].filter((pl.col("run") == one) & (pl.col("step") == 30))
    assert loss == rows["train_loss"][0]


def test_first_rows_are_trained_again_from_the_beginning(made, lab):
    store = Store(lab)
    path = parts(lab)[0]
    (one,) = pl.read_parquet(path)["run"].unique()
    path.unlink()
    (problem,) = check_store(store).problems
    assert f"(missing): run {one}, steps 0 to 10" in problem
    repair_store(store)
    assert statuses(store)[one] == ("planned", 0)
    # That of step 0 is sound, and all that says from which parameters the run was trained.
    assert [each.name for each in (lab / "snapshots" / one).iterdir()] == ["0.safetensors"]
    finish(lab, made)


def test_rows_of_a_replay_are_not_trained_again(made, lab):
    store, run = Store(lab), made[1][0]
    rows = {"run": [run] * 3, "step": [3, 4, 5], "grad/x/rms": [0.5] * 3}
    append_rows(store, pl.DataFrame(rows))
    path = next(path for path in parts(lab) if pl.read_parquet(path).height == 3)
    path.write_bytes(path.read_bytes()[:-9])
    _, actions = repair_store(store)
    assert [a.then for a in actions] == [f"ablab replay {run} --steps 3:5 --watch …"]
    assert check_store(store).problems == []
    finish(lab, made)


def test_a_damaged_last_snapshot_is_trained_again(made, lab):
    store, (one, other) = Store(lab), made[1]
    flip(lab / "snapshots" / one / "40.safetensors", 0.7)
    repair_store(store)
    assert statuses(store) == {one: ("interrupted", 30), other: ("finished", 40)}
    finish(lab, made)


def test_a_damaged_snapshot_on_the_way_is_dropped(made, lab):
    store, (one, _) = Store(lab), made[1]
    flip(lab / "snapshots" / one / "10.safetensors", 0.7)
    repair_store(store)
    assert [s.step for s in ablab.open(lab).store.runs() if s.status == "finished"] == [40, 40]
    assert ablab.open(lab).run(one).snapshots == [0, 1, 2, 4, 8, 16, 20, 30, 32, 40]
    finish(lab, made)


def test_a_damaged_capture_comes_back_by_the_command_that_is_given(made, lab):
    store, (one, _) = Store(lab), made[1]
    path = lab / "captures" / one / "10.safetensors"
    read = ablab.open(lab).run(one).captured(10)
    before = {name: tensor.clone() for name, tensor in read.items()}  # it is mapped to the file
    flip(path, 1.0)
    _, actions = repair_store(store)
    (command,) = [each.then for each in actions if each.then]
    assert not path.exists()
    code, _, err = run_command(*command.split()[1:], "--store", str(lab), "--quiet")
    assert code == 0, err
    again = ablab.open(lab).run(one).captured(10)
    assert set(again) == set(before)
    assert all(torch.equal(again[name], before[name]) for name in before)


@pytest.mark.parametrize("at", ["copy_aside", "write_part", "_set_back", "_restore_losses"])
def test_a_repair_that_is_killed_can_be_made_again(made, lab, monkeypatch, at):
    store = Store(lab)
    one = made[1][0]
    path = spoil(lab, one)
    flip(lab / "snapshots" / one / "40.safetensors", 0.7)
    damaged = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(repairing, at, killed)
        with pytest.raises(KeyboardInterrupt):
            repair_store(store)
    check_store(store)
    repair_store(store)
    assert check_store(store).problems == []
    assert (lab / "damaged" / "metrics" / path.name).read_bytes() == damaged
    finish(lab, made)


def test_a_run_that_is_being_trained_is_left_alone(made, lab):
    store = Store(lab)
    one = made[1][0]
    path = lab / "snapshots" / one / "40.safetensors"
    flip(path, 0.7)
    with Owner(store.index.path) as owner:
        owner.acquire(store.index, [one])
        _, actions = repair_store(store)
        assert any("is being trained by another process" in each.what for each in actions)
        assert path.exists() and statuses(store)[one] == ("finished", 40)
    repair_store(store)
    finish(lab, made)


def test_unused_files_are_cleared_away_once_no_process_can_need_them(lab):
    store = Store(lab)
    old, young = (lab / "metrics" / f"{letter * 32}.parquet" for letter in "ab")
    partial, folder = lab / "metrics" / ".partial-x", lab / ".partial-y"
    folder.mkdir()
    for path in (old, young, partial, folder / "inside"):
        path.write_bytes(b"PAR1")
    for path in (old, partial, folder):
        os.utime(path, (time.time() - 3600,) * 2)
    _, actions = repair_store(store)
    assert [each.exists() for each in (old, young, partial, folder)] == [False, True, False, False]
    assert (lab / "damaged" / "metrics" / old.name).read_bytes() == b"PAR1"
    assert [each.what for each in actions] == [
        "removed 2 unfinished files",
        "set 1 file aside that the index does not list",
        "1 unused file is left (younger than ten minutes)",
    ]


def test_nothing_beyond_a_link_is_touched(lab, tmp_path):
    """A stranger's store may have links to folders of the one who repairs it."""
    outside = tmp_path / "documents"
    outside.mkdir()
    kept = [outside / "thesis.txt", outside / ".partial-thesis"]
    for path in kept:
        path.write_text("years of work")
        os.utime(path, (time.time() - 3600,) * 2)
    for place in ("captures/x", "snapshots/y", "findings/z", "metrics/w"):
        (lab / place).parent.mkdir(exist_ok=True)
        (lab / place).symlink_to(outside)
    file = lab / "metrics" / f"{'c' * 32}.parquet"
    file.symlink_to(kept[0])
    checked, actions = repair_store(Store(lab))
    assert (checked.problems, checked.leftovers, actions) == ([], [], [])
    assert all(path.read_text() == "years of work" for path in kept)
    assert file.is_symlink()


def test_the_command_says_what_is_damaged_and_what_to_do(made, lab):
    one = made[1][0]
    flip(lab / "snapshots" / one / "40.safetensors", 0.7)
    code, out, _ = run_command("check", "--store", str(lab))
    assert code == 1
    assert f": run {one}, step 40" in out
    assert f"steps 31 to 40 of run {one} are trained again, from its snapshot at step 30" in out
    code, out, _ = run_command("check", "--repair", "--json", "--store", str(lab))
    found = json.loads(out)
    assert (code, found["problems"], found["damaged"]) == (0, [], [])
    assert [each["run"] for each in found["repaired"]] == [one, one]
    assert found["repaired"][-1]["then"] == "ablab.run(…)"
    finish(lab, made)


def test_a_part_is_listed_again_for_the_runs_that_have_rows_in_it(made, lab):
    store, one = Store(lab), made[1][0]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM part_runs WHERE run = ?", (one,))
    problems = check_store(store).problems
    assert problems and all(f"has rows of run {one}" in each for each in problems)
    repair_store(store)
    assert check_store(store).problems == []
    finish(lab, made)


def test_a_share_that_was_dropped_is_recorded_again(made, lab):
    store = Store(lab)
    before = [tuple(row) for row in store.index.rows("SELECT * FROM shares")]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM shares WHERE part = (SELECT max(part) FROM shares)")
    (path,) = check_store(store).uncovered
    assert path in parts(lab)
    repair_store(store)
    assert check_store(store).uncovered == []
    assert [tuple(row) for row in store.index.rows("SELECT * FROM shares")] == before


def test_the_command_corrects_the_index_first(made, lab):
    one = made[1][0]
    flip(lab / "snapshots" / one / "40.safetensors", 0.7)
    connection = sqlite3.connect(lab / "index.sqlite")
    connection.execute("UPDATE runs SET step = step + 1 WHERE id = ?", (one,))
    connection.commit()
    connection.close()
    assert run_command("check", "--store", str(lab))[0] == 1
    code, out, _ = run_command("check", "--repair", "--store", str(lab))
    assert code == 0
    assert "one bit had changed; corrected" in out
    assert f"steps 31 to 40 of run {one} are trained again" in out
    finish(lab, made)


def test_a_damaged_index_is_not_repaired_blindly(made, lab):
    store = Store(lab)
    with store.index.transaction():
        pass
    flip(lab / "snapshots" / made[1][0] / "40.safetensors", 0.7)
    connection = store.index._connection
    connection.execute("DROP TRIGGER digest_runs_update")
    connection.execute("UPDATE runs SET step = 39")
    with pytest.raises(StoreError, match="nothing was repaired"):
        repair_store(store)


def test_a_snapshot_whose_row_is_lost_is_listed_again(made, lab):
    """The last parameters of a finished run: nothing else would notice that they are gone."""
    store, one = Store(lab), made[1][0]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM snapshots WHERE run = ? AND step = 40", (one,))
    path = lab / "snapshots" / one / "40.safetensors"
    os.utime(path, (time.time() - 3600,) * 2)
    assert check_store(store).leftovers == [path]
    _, actions = repair_store(store)
    assert [each.what for each in actions] == ["listed 1 snapshot again"]
    assert path.exists() and check_store(store).problems == []
    again = read_parameters(store, one, 40)
    assert all(torch.equal(again[name], made[3][one][name]) for name in again)
    (row,) = store.index.rows("SELECT * FROM snapshots WHERE run = ? AND step = 40", one)
    assert row["has_optimizer"] == 1
    finish(lab, made)


def test_another_file_is_not_listed_as_a_snapshot(made, lab):
    store, (one, other) = Store(lab), made[1]
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM snapshots WHERE run = ? AND step = 40", (one,))
    mine, others = (lab / "snapshots" / run / "40.safetensors" for run in (one, other))
    shutil.copy(others, mine)
    os.utime(mine, (time.time() - 3600,) * 2)
    _, actions = repair_store(store)
    assert [each.what for each in actions] == ["set 1 file aside that the index does not list"]
    assert not mine.exists()


def test_a_run_that_a_rule_had_stopped_is_trained_again_after_a_repair(tmp_path):
    asked = {
        "name": "ruled", "task": {"kind": "addition", "n_digits": 1},
        "model": {"kind": "bigram"},
        "train": {"steps": 60, "batch_size": 8, "snapshots": {"every": 2},
                  "stop": {"measure": "train_loss", "below": 100.0}},
    }  # fmt: skip
    first = train(asked, tmp_path / "lab", engine="solo", compile="off")
    (run,) = first.runs
    assert run.status == "stopped" and run.step > 0
    before = first.metrics()
    flip(tmp_path / "lab" / "snapshots" / run.run / f"{run.step}.safetensors", 0.7)
    first.store.close()
    repair_store(Store(tmp_path / "lab"))
    again = train(asked, tmp_path / "lab", engine="solo", compile="off")
    assert again.trained == 1
    (now,) = again.runs
    assert (now.status, now.step) == ("stopped", run.step)
    assert check_store(again.store).problems == []
    assert again.store.index.rows(
        "SELECT 1 FROM snapshots WHERE run = ? AND step = ?", run.run, run.step
    )
    losses = again.metrics(["train_loss"])
    assert losses.equals(before.select(losses.columns))


def test_a_run_whose_row_was_dropped_is_finished_again_by_its_last_snapshot(made, lab):
    store, (one, other) = Store(lab), made[1]
    connection = store.index._connection
    connection.execute("PRAGMA foreign_keys = OFF")
    with store.index.transaction() as inside:
        inside.execute("DELETE FROM runs WHERE id = ?", (one,))
        count_sums(inside)  # as a repair of the index does
    connection.execute("PRAGMA foreign_keys = ON")
    assert [each.run for each in store.runs()] == [other]
    store.close()
    done = train(WILD, lab, *ASKED, CAPTURES, engine="solo")
    assert done.trained == 0 and statuses(done.store) == dict.fromkeys(made[1], ("finished", 40))
    finish(lab, made)
