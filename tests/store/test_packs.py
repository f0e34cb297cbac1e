"""Experiments as one file: what is in a pack, and what is not a pack."""

import json
import stat
import threading
import zipfile

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.store import Store, StoreError
from ablab.store.packs import unpack
from tests.cli.command import run_command
from tests.store.makers import train, train_and_write
from tests.store.packing import ONE, index, metrics, packed, sound

EVERYTHING = {
    "every": 5,
    "statistics": ["param/*/rms"],
    "captures": [{"what": ["blocks.0.attn.pattern"], "steps": [10], "samples": 2}],
}


def zipped(path, names, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            about = zipfile.ZipInfo(name)
            about.external_attr = mode << 16
            file.writestr(about, b"x")
    return path


def test_what_was_packed_is_unpacked(tmp_path, tiny):
    asked = tiny | {"watch": EVERYTHING, "expect": ["final(eval_loss) is below 9"]}
    train_and_write(asked, tmp_path / "lab")
    own = Store(tmp_path / "lab")
    own.note(own.experiment("tiny").id, "a note")
    file = packed(tmp_path / "lab", tmp_path / "tiny.ablab.zip", "all")
    done, (record,) = unpack(file, tmp_path / "new")
    assert len(done.added) == 4
    assert not (done.continued or done.present or done.refused)
    assert metrics(tmp_path / "new").equals(metrics(tmp_path / "lab"))
    sound(tmp_path / "new")
    here, there = ablab.open(tmp_path / "lab"), ablab.open(tmp_path / "new")
    assert [vars(a) for a in here.runs()] == [vars(b) for b in there.runs()]
    run = here.runs()[0].run
    assert here.run(run).snapshots == there.run(run).snapshots
    tables = [index(tmp_path / each) for each in ("lab", "new")]
    for same in (
        "kept",
        "samples",
        "snapshots",
        "initial",
        "notes",
        "expectations",
        "registrations",
    ):
        assert tables[0][same] == tables[1][same]
    assert record.environment == own.experiment("tiny").environment
    assert there.run(run).captures == [10]


@pytest.mark.parametrize(("snapshots", "steps"), [("all", [0, 10, 20]), ("last", [20])])
def test_snapshots_are_chosen(tmp_path, tiny, snapshots, steps):
    train(tiny, tmp_path / "lab", "train.snapshots.logarithmic=false")
    unpack(packed(tmp_path / "lab", tmp_path / "a.zip", snapshots), tmp_path / "new")
    rows = Store(tmp_path / "new").index.rows("SELECT DISTINCT step FROM snapshots ORDER BY step")
    assert [row["step"] for row in rows] == steps
    sound(tmp_path / "new")


def test_what_cannot_be_packed_is_said(tmp_path, tiny, monkeypatch):
    train(tiny, tmp_path / "lab")
    store = Store(tmp_path / "lab")
    run = store.runs()[0].run
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM snapshots WHERE run = ?", (run,))
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command("pack", "tiny", "--to", "a.zip", "--quiet")
    assert code == 0
    first, second = out.splitlines()
    assert first.startswith("a.zip: 3 runs, ")
    assert second == f"not packed: {run}: it has no snapshot to resume from"
    done, _ = unpack(tmp_path / "a.zip", tmp_path / "new")
    assert (len(done.added), done.present) == (3, [run])
    sound(tmp_path / "new")


def test_a_link_in_an_entry_is_not_followed(tmp_path, tiny):
    train_and_write(tiny, tmp_path / "lab", *ONE)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (entry,) = (path for path in (tmp_path / "lab" / "logbook").iterdir() if path.is_dir())
    (entry / "link.txt").symlink_to(secret)
    (entry / "folder").symlink_to(tmp_path)
    with zipfile.ZipFile(packed(tmp_path / "lab", tmp_path / "a.zip")) as file:
        assert not any("link" in name or "secret" in name for name in file.namelist())
        assert any(name.endswith("index.html") for name in file.namelist())


def test_a_strangers_name_is_no_path(tmp_path, tiny, monkeypatch):
    train(tiny, tmp_path / "lab", *ONE)
    store = Store(tmp_path / "lab")
    with store.index.transaction() as connection:
        connection.execute("UPDATE experiments SET name = 'a/../../evil'")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    code, _, err = run_command("pack", "a/../../evil", "--store", "../lab")
    assert (code, "no name of an experiment" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab", "work"]


def test_a_damaged_pack_is_an_error_and_never_a_number(tmp_path, tiny):
    train(tiny, tmp_path / "lab", *ONE)
    file = packed(tmp_path / "lab", tmp_path / "a.zip")
    content = file.read_bytes()
    wrong = 0
    for number, place in enumerate(np.random.default_rng(0).integers(len(content), size=25)):
        bent = bytearray(content)
        bent[place] ^= 16
        (tmp_path / "b.zip").write_bytes(bent)
        new = tmp_path / f"new{number}"
        try:
            unpack(tmp_path / "b.zip", new)
        except InputError:
            wrong += 1
        else:
            assert metrics(new).equals(metrics(tmp_path / "lab"))
            sound(new)
    assert wrong > 15


def test_a_pack_of_a_store_that_is_being_written_is_one_moment_of_it(tmp_path, tiny):
    lab, files = tmp_path / "lab", []
    asked = tiny | {"grid": {}, "train": tiny["train"] | {"snapshots": {"every": 1}}}
    done = threading.Event()

    def keep_training():
        for steps in range(2, 40, 2):
            train(asked, lab, f"train.steps={steps}")
        done.set()

    train(asked, lab, "train.steps=1")
    trainer = threading.Thread(target=keep_training)
    trainer.start()
    while not done.is_set():
        files.append(packed(lab, tmp_path / f"{len(files)}.zip"))
    trainer.join()
    whole = metrics(lab)
    assert len(files) > 2
    for number, file in enumerate(files):
        unpack(file, tmp_path / f"new{number}")
        sound(tmp_path / f"new{number}")
        found = metrics(tmp_path / f"new{number}").select("run", "step", "train_loss")
        both = found.join(whole, on=["run", "step"], suffix="_whole")
        assert len(both) == len(found)
        assert both["train_loss"].equals(both["train_loss_whole"])


def test_a_damaged_file_is_not_copied(tmp_path, tiny):
    train(tiny, tmp_path / "lab")
    path = next((tmp_path / "lab" / "snapshots").rglob("20.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(StoreError, match="damaged"):
        packed(tmp_path / "lab", tmp_path / "a.zip", "all")
    assert [each.name for each in tmp_path.iterdir()] == ["lab"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/evil", "metrics/../../evil", "evil.py", "sources/x/../../../evil.py",
        "snapshots/0123456789ab/../../../1.safetensors", "logbook/../../evil", "index.sqlite-wal",
    ],
)  # fmt: skip
def test_a_file_with_other_names_is_no_pack(tmp_path, name):
    (tmp_path / "inner").mkdir()
    file = zipped(tmp_path / "inner" / "a.zip", ["index.sqlite", name])
    with pytest.raises(InputError, match="not an ablab pack"):
        unpack(file, tmp_path / "inner" / "new")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.zip", "inner"]


def test_what_is_no_pack_is_refused(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("hello")
    linked = zipped(tmp_path / "l.zip", ["index.sqlite"], stat.S_IFLNK | 0o777)
    empty = zipped(tmp_path / "e.zip", [])
    for file in (text, linked, empty):
        with pytest.raises(InputError, match="not an ablab pack"):
            unpack(file, tmp_path / "new")
    for file in (tmp_path / "none.zip", tmp_path):
        with pytest.raises(InputError):
            unpack(file, tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("index.sqlite", b"x" * 1000)
    with pytest.raises(InputError, match="not an ablab pack"):
        unpack(tmp_path / "b.zip", tmp_path / "new")
    with pytest.raises(StoreError):  # not an index
        unpack(zipped(tmp_path / "i.zip", ["index.sqlite"]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_commands(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_and_write(tiny, tmp_path / "lab")
    code, out, _ = run_command("pack", "tiny", "--quiet")
    assert code == 0
    assert out.startswith("20")
    assert "tiny.ablab.zip: 4 runs, " in out
    (file,) = tmp_path.glob("*.ablab.zip")
    with zipfile.ZipFile(file) as opened:
        assert any(name.endswith("tiny/index.html") for name in opened.namelist())
    code, out, _ = run_command("unpack", str(file), "--store", "new", "--quiet")
    assert (code, out.splitlines()[0]) == (0, "4 runs added")
    code, out, _ = run_command("unpack", str(file), "--store", "new", "--json")
    found = json.loads(out)
    assert (code, len(found["present"]), found["experiments"][0]["experiment"]) == (0, 4, "tiny")
    code, _, err = run_command("pack", "tony")
    assert (code, "did you mean tiny" in err) == (2, True)
    code, _, err = run_command("unpack", "nothing.zip", "--store", "new")
    assert (code, "there is no such file" in err) == (2, True)
