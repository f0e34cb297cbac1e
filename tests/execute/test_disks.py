"""Disks that are full, read-only or gone: one clear error, no run is blamed, nothing is lost."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ablab.config import InputError
from ablab.store import Store, StoreError, checkpointer
from ablab.store.files import store_error
from tests.cli.command import run_command
from tests.execute.disks import Disk, statuses
from tests.store.makers import train

MINE = "tests.execute.my_parts"
LONG = ("train.steps=100000", "train.snapshots={every: 50, logarithmic: false}")


@pytest.fixture
def disk(tmp_path):
    """Makes one small file system."""
    made = []

    def make(size="100m", inodes=0):
        made.append(Disk(tmp_path / "disk", size, inodes))
        return made[0]

    yield make
    for each in made:
        each.unmount()


@pytest.mark.parametrize(
    ("size", "inodes", "workers"),
    [
        ("900k", 0, 1),
        ("100m", 40, 1),
        ("900k", 0, 2),
        pytest.param("100m", 40, 2, marks=pytest.mark.slow),
        *(pytest.param(f"{size}k", 0, 2, marks=pytest.mark.slow) for size in (300, 400, 600)),
    ],
)
def test_a_full_disk_is_no_runs_fault_and_training_goes_on_later(
    disk, tmp_path, tiny, size, inodes, workers
):
    small = disk(size, inodes)
    lab, asked = small.path / "lab", tiny | {"watch": {"every": 1}}
    overrides = ("train.steps=24", "train.snapshots.every=2")
    with pytest.raises(StoreError, match=r"cannot (write|use|read) "):
        train(asked, lab, *overrides, workers=workers, compile="off", engine="stack")
    small.remount("size=100m,nr_inodes=10000")
    assert statuses(lab) <= {"planned", "interrupted"}
    again = train(asked, lab, *overrides, compile="off", engine="stack")
    assert statuses(lab) == {"finished"}
    whole = train(asked, tmp_path / "whole", *overrides, compile="off", engine="stack")
    assert again.metrics(["train_loss"]).equals(whole.metrics(["train_loss"]))


@pytest.mark.parametrize("size", [16, 100, 148, 160, 200, 240, 280, 320])
def test_an_index_is_made_whole_or_not_at_all(tmp_path, size):
    small = Disk(tmp_path / "disk", f"{size}k")
    try:
        with suppress(StoreError):
            Store(small.path / "lab", create=True).close()
        small.remount("size=10m")
        assert not list(small.path.glob("lab/.partial-*"))
        store = Store(small.path / "lab", create=True)
        assert store.index.damage() == []
        assert sqlite3.connect(store.index.path).execute("PRAGMA journal_mode").fetchone() == (
            "wal",
        )
        store.close()
    finally:
        small.unmount()


READING = [["runs"], ["read", "tiny"], ["effects", "tiny"], ["metrics", "tiny"], ["check"],
           ["expect", "tiny"], ["export", "tiny", "--to", "csv", "--out", "OUT"]]  # fmt: skip
WRITING = [["logbook"], ["note", "tiny", "a note"], ["replay", "RUN"],
           ["expect", "tiny", "eval_loss falls with model.d_model"], ["run", "ASKED"],
           ["run", "ASKED", "--workers", "2"], ["run", "ASKED", "--store", "NEW"]]  # fmt: skip


def test_a_read_only_disk_can_be_read_and_says_one_error_to_what_writes(disk, tmp_path, tiny):
    small = disk()
    lab = small.path / "lab"
    made = train(tiny, lab, "seeds=1", "train.steps=4")
    expected = made.metrics(["train_loss"])
    shutil.copytree(lab, small.path / "left")  # as a killed process leaves it, with a log
    run_id = made.runs[0].run
    made.store.close()
    small.remount("ro")
    asked = tmp_path / "asked.yaml"
    asked.write_text("{name: tiny, task: addition, train: {steps: 8}}")
    words = {"OUT": str(tmp_path / "out.csv"), "RUN": run_id, "ASKED": str(asked),
             "NEW": str(small.path / "new")}  # fmt: skip

    def run(arguments, store):
        named = [words.get(each, each) for each in arguments]
        where = [] if "--store" in arguments else ["--store", str(store)]
        return run_command(*named, *where, "--quiet")

    for arguments in READING:
        read = []
        for store in (lab, small.path / "left"):
            code, out, err = run(arguments, store)
            assert (code, err) == (0, ""), arguments
            read.append(out.replace("left", "lab"))
        assert read[0] == read[1]
    for arguments in WRITING:
        code, _, err = run(arguments, lab)
        assert (code, err.count("error:"), "Traceback" in err) == (2, 1, False), (arguments, err)
        assert "cannot write" in err or "cannot create" in err
    small.remount("rw")
    again = train(tiny, lab, "seeds=1", "train.steps=4")
    assert again.metrics(["train_loss"]).equals(expected)


def moving(lab, how, after):
    """A request to pause that never comes, but moves the store meanwhile."""
    calls = []

    def pause():
        calls.append(1)
        if not after() or not lab.is_dir():
            return False
        if how == "deleted":
            shutil.rmtree(lab)
        else:
            lab.rename(lab.with_name("moved"))
        if how == "replaced":
            Store(lab, create=True).close()
        return False

    return pause


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_a_store_that_is_gone_stops_training_and_is_not_made_again(
    tmp_path, tiny, monkeypatch, how
):
    monkeypatch.setattr(checkpointer, "_LOOK_SECONDS", 0.0)
    lab, count = tmp_path / "lab", []

    def after():
        count.append(1)
        return len(count) > 30

    said = "was replaced" if how == "replaced" else "was deleted or moved"
    with pytest.raises(StoreError, match=said):
        train(tiny, lab, *LONG, pause=moving(lab, how, after), compile="off", engine="stack")
    assert len(count) < 50  # it stopped soon
    if how == "replaced":
        assert sorted(path.name for path in lab.iterdir()) == ["index.sqlite"]
        assert Store(lab).runs() == []
    else:
        assert not lab.exists()
    if how != "deleted":
        assert statuses(tmp_path / "moved") == {"planned", "interrupted"}
        assert max(run.step for run in Store(tmp_path / "moved").runs()) >= 100


def test_two_workers_stop_when_their_store_is_moved(tmp_path, tiny):
    lab = tmp_path / "lab"

    def after():
        return (lab / "metrics").is_dir() and len(list((lab / "metrics").iterdir())) > 1

    with pytest.raises(StoreError, match="was deleted or moved"):
        train(tiny, lab, *LONG, pause=moving(lab, "moved", after), workers=2, compile="off")
    assert not lab.exists()
    assert statuses(tmp_path / "moved") <= {"planned", "interrupted"}
    assert max(run.step for run in Store(tmp_path / "moved").runs()) >= 50


def failing(function, monkeypatch, folder, after, code=errno.EIO):
    """Makes one function of the system fail for files in a folder, after some calls."""
    plain, calls = getattr(os, function), []

    def fail(path, *arguments, **options):
        name = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(path)
        if name.is_relative_to(folder) and (function != "unlink" or name.exists()):
            calls.append(1)
            if len(calls) > after:
                raise OSError(code, os.strerror(code), str(name))
        return plain(path, *arguments, **options)

    monkeypatch.setattr(os, function, fail)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("function", ["mkdir", "fsync", "replace", "open"])
@pytest.mark.parametrize("after", [0, 3])
def test_an_error_of_the_system_is_the_stores(tmp_path, tiny, monkeypatch, function, after):
    lab = tmp_path / "lab"
    Store(lab, create=True).close()
    with monkeypatch.context() as patched, pytest.raises(StoreError):
        failing(function, patched, lab, after)
        train(tiny, lab, compile="off", engine="stack")
    assert statuses(lab) <= {"planned", "interrupted"}
    train(tiny, lab, compile="off", engine="stack")
    assert statuses(lab) == {"finished"}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_file_that_cannot_be_removed_harms_nobody(tmp_path, tiny, monkeypatch):
    failing("unlink", monkeypatch, tmp_path / "lab" / "snapshots", 0)
    monkeypatch.setattr("ablab.train.loop.SECONDS_BETWEEN_CHECKPOINTS", 0.0)  # rolling ones
    train(tiny, tmp_path / "lab", compile="off", engine="stack")
    assert statuses(tmp_path / "lab") == {"finished"}


def test_a_disk_that_a_users_code_finds_full_is_no_runs_fault(tmp_path, tiny, monkeypatch):
    asked = tiny | {"task": {"kind": f"{MINE}:FindsFullDisk", "n_digits": 2}}
    with pytest.raises(StoreError, match="No space left"):
        train(asked, tmp_path / "lab", "seeds=1", "model.d_model=8", compile="off")
    assert statuses(tmp_path / "lab") <= {"planned", "interrupted"}


def test_whose_fault_an_error_is(tmp_path):
    index = Store(tmp_path / "lab", create=True).index
    inside = OSError(errno.EIO, "I/O error", str(tmp_path / "lab" / "metrics" / "x"))
    wrapped = RuntimeError("training stopped")
    wrapped.__cause__ = inside
    assert store_error(index, wrapped) is not None
    assert store_error(index, OSError(errno.EIO, "I/O error", str(tmp_path / "x"))) is None
    assert store_error(index, RuntimeError("a bug")) is None
    assert [path.name for path in (tmp_path / "lab").glob(".*")] == []
    (tmp_path / "lab").rename(tmp_path / "moved")
    assert "moved" in str(store_error(index, RuntimeError("a bug")))


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write")
def test_a_missing_permission_is_no_runs_fault(tmp_path, tiny):
    """Root ignores permissions, so the command runs as a user who has none."""
    lab, asked = tmp_path / "lab", tmp_path / "asked.yaml"
    asked.write_text("{name: tiny, task: addition, train: {steps: 4, batch_size: 16}, seeds: 2}")
    train(tiny, lab, "seeds=1", "train.steps=2")
    folders = [lab, *(path for path in lab.rglob("*") if path.is_dir())]
    for path in [lab, *lab.rglob("*")]:
        path.chmod(0o777 if path in folders else 0o666)
    (lab / "snapshots").chmod(0)
    command = [sys.executable, "-m", "ablab", "run", str(asked), "--store", str(lab), "--quiet"]
    environment = os.environ | {
        "ABLAB_CACHE": str(tmp_path / "none"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *command]
        for path in tmp_path.parents:
            if path.stat().st_uid == 0 and path.stat().st_mode & 0o077 == 0:
                path.chmod(path.stat().st_mode | 0o011)
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    (lab / "snapshots").chmod(0o777)
    if "ModuleNotFoundError" in found.stderr or "can't open file" in found.stderr:
        pytest.skip("another user cannot run this Python")
    assert (found.returncode, found.stderr.count("error:")) == (2, 1), found.stderr
    assert "Traceback" not in found.stderr
    assert statuses(lab) <= {"planned", "interrupted", "finished"}


def test_a_path_that_is_no_path_is_an_error_of_input(tmp_path):
    for path in (tmp_path / ("x" * 10_000), Path("/proc/1/fd")):
        with pytest.raises(InputError):
            Store(path, create=True)
