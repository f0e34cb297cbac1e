"""Runs that travel from one store to another: what is added, what stays, what is refused."""

import json
import shutil

import polars as pl
import pytest

import ablab
from ablab.store import Store, StoreError
from ablab.store.check import check_store
from ablab.store.compaction import compact
from ablab.store.expected import stamped
from ablab.store.leases import Owner
from ablab.store.metrics import read_runs
from ablab.store.packs import unpack
from ablab.store.parts import append_rows, list_parts
from tests.store.makers import train, train_and_write
from tests.store.packing import ONE, changed, index, metrics, packed, sound


def test_unpacking_again_changes_nothing(tmp_path, tiny):
    train(tiny, tmp_path / "lab")
    file = packed(tmp_path / "lab", tmp_path / "tiny.ablab.zip")
    unpack(file, tmp_path / "new")
    before = index(tmp_path / "new")
    done, _ = unpack(file, tmp_path / "new")
    assert (len(done.present), done.added) == (4, [])
    assert index(tmp_path / "new") == before


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
