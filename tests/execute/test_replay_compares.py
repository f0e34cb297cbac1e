"""A replay whose losses differ from the stored ones adds nothing, unless that is wanted."""

import pytest

import ablab
from ablab.execute import replay as module
from ablab.store import Store, StoreError
from ablab.store.check import check_store
from ablab.store.staging import StagedResults
from ablab.tasks.addition import Addition
from tests.cli.command import run_command
from tests.store.makers import train

WATCH = ["--watch", "grad/*/rms", "--capture", "param/*", "--capture-every", "4", "--quiet"]


@pytest.fixture
def lab(tmp_path, tiny):
    train(tiny, tmp_path / "lab", "seeds=1", "model.d_model=8", compile="off").store.close()
    return tmp_path / "lab"


@pytest.fixture
def other_release(lab, monkeypatch):
    """Draws other batches than the release that trained the run."""
    plain = Addition.draw
    monkeypatch.setattr(
        Addition, "draw", lambda self, seed, *rest: plain(self, seed + 1, *rest)
    )  # fmt: skip


def files(lab):
    return sorted(
        str(path) for path in lab.rglob("*") if path.is_file() and "index" not in path.name
    )


def columns(lab):
    opened = ablab.open(lab)
    run = opened.run(opened.runs()[0].run)
    return run.metrics().columns, run.captures


def replayed(lab, *more):
    run = Store(lab).runs()[0].run
    return run_command("replay", run, *WATCH, *more, "--store", str(lab))


@pytest.mark.parametrize("has_column", [True, False])
def test_steps_whose_losses_are_lost_agree_with_nothing(lab, monkeypatch, has_column):
    stored = module.read_runs
    lost = [] if has_column else ["train_loss"]
    monkeypatch.setattr(module, "read_runs", lambda *rest: stored(*rest).clear().drop(lost))
    before = files(lab), columns(lab)
    code, out, err = replayed(lab)
    assert code == 1 and "there is nothing to compare with" in out and "are equal" not in out
    assert "nothing was added; --anyway adds it" in err and "rounding" not in err
    assert (files(lab), columns(lab)) == before
    code, out, err = replayed(lab, "--anyway")
    assert code == 1 and "added: " in out


def test_a_capture_that_a_snapshot_has_trains_nothing(lab):
    opened = ablab.open(lab)
    run = opened.runs()[0].run
    found = opened.replay(run, (20, 20), capture=["param/*"])  # its last snapshot
    assert (found.methods, found.compared) == ([], 0)
    assert found.losses == "losses: no step was trained again"
    assert found.agrees and found.added


@pytest.mark.usefixtures("other_release")
def test_losses_that_differ_add_nothing(lab, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_BYTES", 0)  # every row is written by itself
    before = files(lab), columns(lab)
    code, out, err = replayed(lab)
    assert code == 1
    assert "0 of 20 are equal" in out and "added" not in out and "captured" not in out
    assert "nothing was added; --anyway adds it" in err
    assert (files(lab), columns(lab)) == before
    code, out, err = replayed(lab, "--anyway")
    assert code == 1  # they still differ
    assert "added: " in out and "captured: after steps" in out and "nothing was" not in err
    names, captures = columns(lab)
    assert any(name.startswith("grad/") for name in names) and captures == [1, 5, 9, 13, 17]
    assert check_store(Store(lab)).problems == []


def test_losses_that_agree_add_everything_once(lab, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_BYTES", 0)
    code, out, _ = replayed(lab)
    assert code == 0 and "all 20 are equal" in out and "at 20 steps" in out
    checked = check_store(Store(lab))
    assert (checked.problems, checked.leftovers) == ([], [])
    assert columns(lab)[1] == [1, 5, 9, 13, 17]


def test_a_replay_that_is_cut_short_adds_nothing(lab, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_BYTES", 0)
    before = files(lab), columns(lab)
    add, count = StagedResults.add_rows, []

    def fail(self, frame):
        count.append(1)
        if len(count) == 7:
            raise StoreError("a full disk")
        add(self, frame)

    monkeypatch.setattr(StagedResults, "add_rows", fail)
    code, _, err = replayed(lab)
    assert (code, "a full disk" in err) == (2, True)
    assert (files(lab), columns(lab)) == before


def test_an_almost_full_disk_still_takes_a_replay_without_captures(lab, monkeypatch):
    monkeypatch.setattr("ablab.store.artifacts._SPARE_BYTES", 2**60)
    run = Store(lab).runs()[0].run
    code, _, err = run_command("replay", run, "--quiet", "--store", str(lab))
    assert (code, err) == (0, "")


def test_captures_come_before_rows_and_one_at_a_time(lab, monkeypatch):
    """Where the disk is full in the end, no rows say that tensors were captured."""
    from ablab.store import staging

    save, staged, seen = staging.save_artifact, [], []

    def saving(store, kind, run, step, tensors, about):
        seen.append(sum(path.name.endswith("-staged") for path in lab.rglob("*")))
        if step == 13:
            raise StoreError("a full disk")
        staged.append(step)
        save(store, kind, run, step, tensors, about)

    monkeypatch.setattr(staging, "save_artifact", saving)
    before, _ = columns(lab)
    code, _, err = replayed(lab)
    assert (code, "a full disk" in err) == (2, True)
    assert columns(lab) == (before, [1, 5, 9])
    assert seen == [5, 4, 3, 2] and staged == [1, 5, 9]
    assert check_store(Store(lab)).problems == check_store(Store(lab)).leftovers == []
