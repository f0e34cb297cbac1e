"""Experiments that travel from one store to another, in a pack or as a folder."""

import json
import shutil
import stat
import threading
import zipfile

import numpy as np
import polars as pl
import pytest

import ablab
from ablab.config import InputError
from ablab.store import Store, StoreError
from ablab.store.check import check_store
from ablab.store.compaction import compact
from ablab.store.expected import stamped
from ablab.store.leases import Owner
from ablab.store.metrics import read_runs
from ablab.store.packs import pack, unpack
from ablab.store.parts import append_rows, list_parts
from tests.cli.command import run_command
from tests.store.makers import train, train_and_write

ONE = ["seeds=1", "model.d_model=8"]
EVERYTHING = {
    "every": 5,
    "statistics": ["param/*/rms"],
    "captures": [{"what": ["blocks.0.attn.pattern"], "steps": [10], "samples": 2}],
}


def packed(store, to, snapshots="last", name="tiny"):
    opened = Store(store, write=False)
    pack(opened, opened.experiment(name), to, snapshots)
    opened.close()
    return to


def metrics(store):
    opened = Store(store, write=False)
    return read_runs(opened, sorted(run.run for run in opened.runs()))


def sound(store):
    opened = Store(store)
    found = check_store(opened)
    assert found.problems == []
    return found


def index(store):
    """All rows of an index, but for the order of parts and the times of a request."""
    opened = Store(store, write=False)
    tables = [
        row["name"]
        for row in opened.index.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        if row["name"] not in ("row_digests", "owners", "sqlite_sequence")
    ]
    return {
        table: sorted(map(repr, map(tuple, opened.index.rows(f"SELECT * FROM {table}"))))
        for table in tables
    }


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


def test_unpacking_again_changes_nothing(tmp_path, tiny):
    train(tiny, tmp_path / "lab")
    file = packed(tmp_path / "lab", tmp_path / "tiny.ablab.zip")
    unpack(file, tmp_path / "new")
    before = index(tmp_path / "new")
    done, _ = unpack(file, tmp_path / "new")
    assert (len(done.present), done.added) == (4, [])
    assert index(tmp_path / "new") == before


@pytest.mark.parametrize(("snapshots", "steps"), [("all", [0, 10, 20]), ("last", [20])])
def test_snapshots_are_chosen(tmp_path, tiny, snapshots, steps):
    train(tiny, tmp_path / "lab", "train.snapshots.logarithmic=false")
    unpack(packed(tmp_path / "lab", tmp_path / "a.zip", snapshots), tmp_path / "new")
    rows = Store(tmp_path / "new").index.rows("SELECT DISTINCT step FROM snapshots ORDER BY step")
    assert [row["step"] for row in rows] == steps
    sound(tmp_path / "new")


def test_an_unpacked_run_goes_on_as_if_it_had_never_travelled(tmp_path, tiny):
    train(tiny, tmp_path / "lab")
    unpack(packed(tmp_path / "lab", tmp_path / "a.zip"), tmp_path / "new")
    for store in ("lab", "new"):
        longer = train(tiny, tmp_path / store, "train.steps=30")
        assert longer.trained == 4
    assert metrics(tmp_path / "new").equals(metrics(tmp_path / "lab"))


def test_a_longer_run_continues_the_shorter_one(tmp_path, tiny):
    train(tiny, tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    train(tiny, tmp_path / "there", "train.steps=30")
    done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert len(done.continued) == 4
    assert metrics(tmp_path / "here").equals(metrics(tmp_path / "there"))
    assert [run.step for run in ablab.open(tmp_path / "here").runs()] == [30] * 4
    again, _ = unpack(tmp_path / "here", tmp_path / "there")
    assert len(again.present) == 4
    sound(tmp_path / "here")


def changed(store, column, value):
    """Appends another value at step 15 of the first run."""
    opened = Store(store)
    run = opened.runs()[0].run
    append_rows(opened, pl.DataFrame({"run": [run], "step": [15], column: [value]}))
    return run


def test_a_run_whose_losses_differ_stays_as_it_is(tmp_path, tiny):
    train(tiny, tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    train(tiny, tmp_path / "there", "train.steps=30")
    run = changed(tmp_path / "there", "train_loss", 7.0)
    before = read_runs(Store(tmp_path / "here"), [run])
    done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert done.refused == {run: "its losses differ from those here from step 15 on"}
    assert len(done.continued) == 3
    assert read_runs(Store(tmp_path / "here"), [run]).equals(before)
    sound(tmp_path / "here")


def test_another_run_with_the_same_id_is_refused(tmp_path, tiny):
    train(tiny, tmp_path / "here", "seeds=1", "model.d_model=8")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = Store(tmp_path / "there")
    with there.index.transaction() as connection:
        (text,) = connection.execute("SELECT trajectory FROM runs").fetchone()
        other = json.dumps(json.loads(text) | {"seed": 77})
        connection.execute("UPDATE runs SET trajectory = ?", (other,))
    there.close()
    done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert list(done.refused.values()) == ["the store has another run with this id"]


def test_a_run_that_is_being_trained_here_is_left_alone(tmp_path, tiny):
    train(tiny, tmp_path / "here", "seeds=1", "model.d_model=8")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    train(tiny, tmp_path / "there", "train.steps=30", "seeds=1", "model.d_model=8")
    here = Store(tmp_path / "here")
    (run,) = [each.run for each in here.runs()]
    with Owner(here.index.path) as owner:
        owner.acquire(here.index, [run])
        done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert done.refused == {run: "another process holds it here"}
    assert here.runs()[0].step == 20


def test_another_experiment_with_the_same_digest_is_an_error(tmp_path, tiny):
    train(tiny, tmp_path / "here", "seeds=1")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = Store(tmp_path / "there")
    with there.index.transaction() as connection:
        definition = json.dumps(tiny | {"question": "another?"})
        connection.execute("UPDATE experiments SET definition = ?", (definition,))
    there.close()
    before = index(tmp_path / "here")
    with pytest.raises(StoreError, match="digest of another experiment"):
        unpack(tmp_path / "there", tmp_path / "here")
    assert index(tmp_path / "here") == before


def test_expectations_make_no_other_experiment(tmp_path, tiny):
    train(tiny, tmp_path / "here")
    train_and_write(
        tiny | {"answer": "best(eval_loss)", "expect": ["final(eval_loss) is below 9"]},
        tmp_path / "there",
    )
    done, (record,) = unpack(tmp_path / "there", tmp_path / "here")
    assert (len(done.added), len(done.present)) == (0, 4)
    assert "expect" not in record.definition or not record.definition["expect"]
    assert len(stamped(Store(tmp_path / "here"), record)) == 1


def test_values_that_the_store_has_stay(tmp_path, tiny):
    one = [*ONE, "train.snapshots.every=10"]
    train(tiny, tmp_path / "here", *one)
    train(tiny, tmp_path / "there", *one, "train.steps=10", "train.evaluate.samples=8")
    before = metrics(tmp_path / "here")
    done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert len(done.present) == 1
    assert metrics(tmp_path / "here").equals(before)


def test_columns_that_the_store_lacks_are_added(tmp_path, tiny):
    train(tiny, tmp_path / "here", *ONE)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    changed(tmp_path / "there", "param/blocks.0.mlp.w_in.weight/rms", 0.5)
    for _ in range(2):
        unpack(tmp_path / "there", tmp_path / "here")
        assert metrics(tmp_path / "here").equals(metrics(tmp_path / "there"))
    assert len(list_parts(Store(tmp_path / "here"))) == len(list_parts(Store(tmp_path / "there")))


def test_merged_parts_are_not_added_again(tmp_path, tiny):
    train(tiny, tmp_path / "lab", *ONE)
    file = packed(tmp_path / "lab", tmp_path / "a.zip")
    unpack(file, tmp_path / "new")
    store = Store(tmp_path / "new")
    (run,) = [each.run for each in store.runs()]
    for step in range(1, 21):  # many small parts, so that they are merged
        for name in ("a", "b"):
            append_rows(store, pl.DataFrame({"run": [run], "step": [step], name: [1.0]}))
    assert compact(store) > 30
    parts = [part.file for part in list_parts(store)]
    unpack(file, tmp_path / "new")
    assert [part.file for part in list_parts(store)] == parts


@pytest.mark.parametrize(
    ("table", "reason"),
    [("parts", "its metrics are incomplete"), ("snapshots", "it has no snapshot to resume from")],
)
def test_a_run_that_is_incomplete_is_refused(tmp_path, tiny, table, reason):
    train(tiny, tmp_path / "there", *ONE)
    there = Store(tmp_path / "there")
    with there.index.transaction() as connection:
        connection.execute(f"DELETE FROM {table}")
    there.close()
    done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert list(done.refused.values()) == [reason]
    assert [run.step for run in Store(tmp_path / "here").runs()] == [0]
    sound(tmp_path / "here")


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


def test_a_run_under_another_id_is_not_duplicated(tmp_path, tiny):
    train(tiny, tmp_path / "here", *ONE)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here = Store(tmp_path / "here")
    (run,) = [each.run for each in here.runs()]
    other = "0123456789ab"
    there = Store(tmp_path / "there")
    with there.index.transaction() as connection:
        connection.execute(
            "INSERT INTO runs SELECT ?, trajectory, seed, 0, NULL, NULL, n_params, "
            "0, NULL, NULL, '[]', 0, NULL, created, updated FROM runs",
            (other,),
        )
        connection.execute("UPDATE members SET run = ?", (other,))
    with here.index.transaction() as connection:
        connection.execute("INSERT INTO aliases VALUES (?, ?)", (other, run))
    there.close()
    done, _ = unpack(tmp_path / "there", tmp_path / "here")
    assert done.refused == {other: f"the store has this run as {run}"}
    assert [each.run for each in here.runs()] == [run]
    assert here.run_row(other[:6])["id"] == run


def test_text_is_no_metric(tmp_path, tiny):
    train(tiny, tmp_path / "there", *ONE)
    changed(tmp_path / "there", "note", "text")
    with pytest.raises(StoreError, match="a column that ablab does not log: 'note'"):
        unpack(tmp_path / "there", tmp_path / "here")
    assert [run.step for run in Store(tmp_path / "here").runs()] == [0]


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


def test_an_unpacking_that_is_cut_off_leaves_a_sound_store(tmp_path, tiny, monkeypatch):
    train(tiny, tmp_path / "lab")
    file = packed(tmp_path / "lab", tmp_path / "a.zip")

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ablab.store.transfer.record_digests", cut_off)
        with pytest.raises(KeyboardInterrupt):
            unpack(file, tmp_path / "new")
    runs = Store(tmp_path / "new").runs()
    assert [(run.status, run.step) for run in runs] == [("planned", 0)] * 4
    assert check_store(Store(tmp_path / "new")).leftovers == []
    sound(tmp_path / "new")
    unpack(file, tmp_path / "new")
    assert metrics(tmp_path / "new").equals(metrics(tmp_path / "lab"))


def test_a_damaged_file_is_not_copied(tmp_path, tiny):
    train(tiny, tmp_path / "lab")
    path = next((tmp_path / "lab" / "snapshots").rglob("20.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(StoreError, match="damaged"):
        packed(tmp_path / "lab", tmp_path / "a.zip", "all")
    assert [each.name for each in tmp_path.iterdir()] == ["lab"]


def zipped(path, names, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            about = zipfile.ZipInfo(name)
            about.external_attr = mode << 16
            file.writestr(about, b"x")
    return path


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
