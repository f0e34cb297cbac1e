"""A key that does not vary in some cells, and that has null as one of its values."""

import polars as pl

import ablab
from ablab.analysis.chosen import stored_runs
from ablab.experiments.cell_text import in_cell
from ablab.read.hypothesis_tests import Sample
from ablab.store.store import Store
from ablab.store.stored_run import StoredRun


def test_an_inactive_key_is_told_from_null(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ablab.experiment(
        tiny | {"train": tiny["train"] | {"steps": 2, "clip_norm": 1.0}, "grid": {}, "seeds": 2},
        grid={
            "train.optimizer": ["adamw", "sgd"],
            "train.clip_norm": [None, 0.5],
            "when": {"train.clip_norm": {"train.optimizer": "sgd"}},
        },
    )
    ablab.run(asked, store="lab", quiet=True, device="cpu")
    store = Store("lab")
    record = store.experiment("tiny")
    runs = store.runs(record)
    assert len(runs) == 6
    for run in runs:
        again = StoredRun(store, run).run
        clip = {"inactive": 1.0, None: None, 0.5: 0.5}[run.variant["train.clip_norm"]]
        assert again.train.clip_norm == clip
    for cell, optimizer in (("inactive", "adamw"), ("null", "sgd"), ("0.5", "sgd")):
        found = stored_runs(store, "tiny", f"train.clip_norm={cell}")
        assert [each.record.variant["train.optimizer"] for each in found] == [optimizer] * 2
    frame = ablab.open("lab").measure("tiny", "final(train_loss)")
    assert frame["train.clip_norm"].to_list() == ["inactive"] * 2 + [None] * 2 + ["0.5"] * 2
    sample = Sample(frame, ["train.optimizer", "train.clip_norm"])
    for value, optimizer in (("inactive", "adamw"), (None, "sgd"), (0.5, "sgd")):
        found = sample.where({"train.clip_norm": value})
        assert found.frame["train.optimizer"].to_list() == [optimizer] * 2


def test_in_a_column_of_numbers_null_is_inactive():
    frame = pl.DataFrame({"train.momentum": [None, 0.0, 0.9], "value": [1.0, 2.0, 3.0]})
    found = Sample(frame, ["train.momentum"]).where({"train.momentum": "inactive"})
    assert found.frame["value"].to_list() == [1.0]
    assert in_cell([{"a": None}, {"a": 0.9}, {}], {"a": "inactive"}) == [True, False, False]
