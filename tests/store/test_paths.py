"""Nothing outside of a store's folder is read, written or deleted, whatever its index says."""

import os
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.logbook.entry import write_entry
from ablab.logbook.exports import export
from ablab.store import Store, StoreError, compaction
from ablab.store.artifacts import artifact_path, read_artifact, save_artifact
from ablab.store.check import check_store
from ablab.store.metrics import append_rows, read_runs
from ablab.store.paths import entry_path, inside, metrics_path, run_snapshot_path, tokenizer_path
from ablab.store.snapshot_files import snapshot_path
from ablab.store.snapshots import read_parameters
from ablab.store.staging import StagedResults
from tests.store.makers import train

RUN = "0123456789ab"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    lab = tmp_path_factory.mktemp("paths") / "lab"
    asked = {
        "name": "plain",
        "task": {"kind": "addition", "n_digits": 1},
        "model": {"d_model": 4, "n_heads": 1},
        "train": {"steps": 4, "batch_size": 4, "evaluate": {"every": 4, "samples": 8}},
    }
    done = train(asked, lab)
    run = done.runs[0].run
    done.store.close()
    return lab, run


@pytest.fixture
def lab(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "outer" / "lab")
    return tmp_path / "outer" / "lab"


def says(store, statement, *values):
    """What a stranger's index says."""
    with store.index.transaction() as connection:
        connection.execute(statement, values)


@pytest.mark.parametrize(
    "make",
    [
        lambda root: metrics_path(root, "../../x.parquet"),
        lambda root: metrics_path(root, "/etc/x.parquet"),
        lambda root: metrics_path(root, None),
        lambda root: run_snapshot_path(root, "..", 1),
        lambda root: run_snapshot_path(root, "0123456789AB", 1),
        lambda root: run_snapshot_path(root, RUN, "../1"),
        lambda root: run_snapshot_path(root, RUN, -1),
        lambda root: run_snapshot_path(root, RUN + "\n", 1),
        lambda root: tokenizer_path(root, "../" * 20),
        lambda root: entry_path(root, "../../home"),
        lambda root: entry_path(root, ".."),
        lambda root: entry_path(root, ""),
        lambda root: entry_path(root, "a", "../b"),
        lambda root: inside(root, "metrics", "a/b"),
        lambda root: inside(root, "metrics\0"),
    ],
)
def test_a_name_that_is_not_plain_makes_no_path(tmp_path, make):
    with pytest.raises(StoreError, match="damaged, or ablab did not write it"):
        make(tmp_path)


def test_a_part_outside_is_neither_read_nor_deleted(made, lab, monkeypatch):
    store = Store(lab)
    outside = lab.parent.parent / "x.parquet"
    (file,) = (lab / "metrics").iterdir()
    shutil.copy(file, outside)
    says(store, "UPDATE parts SET file = '../../x.parquet'")
    monkeypatch.setattr(compaction, "_SMALL_PARTS", 1)
    append_rows(store, pl.DataFrame({"run": [made[1]], "step": [1], "x": [0.0]}))
    with pytest.raises(StoreError):
        read_runs(store, [made[1]])
    assert compaction.compact(store) == 0
    assert outside.is_file()
    with pytest.raises(StoreError):
        Store(lab)


def test_an_entry_outside_is_not_written(lab):
    store = Store(lab)
    home = lab.parent.parent / "home"
    home.mkdir()
    (home / "entry.md").write_text("mine")
    says(store, "UPDATE experiments SET entry = '../../../home'")
    with pytest.raises(StoreError):
        write_entry(store, store.experiments()[0])
    assert [(path.name, path.read_text()) for path in home.iterdir()] == [("entry.md", "mine")]


def test_an_export_is_written_where_the_command_runs(lab, monkeypatch):
    store = Store(lab)
    here = lab.parent / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for form in ("csv", "parquet", "tensorboard"):
        says(store, "UPDATE experiments SET name = '../x'")
        with pytest.raises(InputError):
            export(store, store.experiments()[0], form)
        assert list(here.iterdir()) == []
        assert sorted(path.name for path in lab.parent.iterdir()) == ["here", "lab"]


def test_a_linked_file_is_not_read(made, lab):
    store, run = Store(lab), made[1]
    (part,) = (lab / "metrics").iterdir()
    for path in (part, snapshot_path(store, run, 4)):
        outside = lab.parent / path.name
        path.rename(outside)
        path.symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        read_runs(store, [run])
    with pytest.raises(StoreError, match="is a link"):
        read_parameters(store, run, 4)
    problems = check_store(store).problems
    assert sum("is a link" in each for each in problems) == 2


def test_a_linked_folder_is_neither_read_nor_written(made, lab):
    store, run = Store(lab), made[1]
    outside = lab.parent / "captures"
    (outside / run).mkdir(parents=True)
    (lab / "captures").symlink_to(outside)
    with pytest.raises(StoreError, match="is a link"):
        save_artifact(store, "capture", run, 4, {"x": torch.ones(1)}, {})
    with pytest.raises(StoreError, match="is a link"):
        StagedResults(store, run).add_capture(4, {"x": torch.ones(1)})
    assert list((outside / run).iterdir()) == []
    (outside / run / "4.safetensors").write_bytes(b"secret")
    with pytest.raises(StoreError, match="is a link"):
        read_artifact(store, "capture", run, 4)


def test_training_does_not_write_through_a_linked_folder(made, lab):
    outside = lab.parent / "outside"
    (lab / "snapshots").rename(outside)
    (lab / "snapshots").symlink_to(outside)
    before = sorted(outside.rglob("*"))
    store = Store(lab)
    definition = store.experiments()[0].definition
    store.close()
    with pytest.raises(StoreError, match="is a link"):
        ablab.run(ablab.experiment(definition, "train.steps=8"), store=lab, quiet=True, workers=1)
    assert sorted(outside.rglob("*")) == before


def test_a_file_that_never_ends_is_not_opened(made, lab):
    store, run = Store(lab), made[1]
    path = snapshot_path(store, run, 4)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="not an ordinary file"):
        read_parameters(store, run, 4)
    assert any("not an ordinary file" in each for each in check_store(store).problems)


def test_the_stores_own_folder_may_be_a_link(made, lab):
    link = lab.parent / "link"
    link.symlink_to(lab)
    assert read_parameters(Store(link), made[1], 4)
    assert check_store(Store(link)).problems == []


def test_paths_are_those_of_the_format(made):
    store, run = Store(made[0]), made[1]
    root = Path(made[0])
    assert snapshot_path(store, run, 4) == root / "snapshots" / run / "4.safetensors"
    assert artifact_path(store, "capture", run, 4) == root / "captures" / run / "4.safetensors"
    assert entry_path(root, "2026-01-01-a.b_c-2") == root / "logbook" / "2026-01-01-a.b_c-2"
