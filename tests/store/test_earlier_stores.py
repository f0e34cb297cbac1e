"""A store of format 1, made before modules were renamed, opens, reads, resumes and is whole.

``fixtures/format-1.tar.xz`` is that store, ``fixtures/format-1.json`` what its version
read from it, and the losses of its interrupted run trained without an interruption.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import ablab
from ablab.read.curves import read_curve
from ablab.store import Store
from ablab.store.check import check_store
from ablab.store.repair import repair_store
from tests.store.makers import flip

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = json.loads((FIXTURES / "format-1.json").read_text())


@pytest.fixture
def lab(tmp_path):
    with tarfile.open(FIXTURES / "format-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "lab"


def test_its_runs_read_as_they_did(lab):
    opened = ablab.open(lab)
    found = [
        [r.run, r.experiments, r.status, r.step, r.train_loss, r.eval_loss] for r in opened.runs()
    ]
    assert found == EXPECTED["runs"]
    assert {status for _, _, status, *_ in found} == {
        "finished",
        "diverged",
        "stopped",
        "interrupted",
    }


def test_its_metrics_read_as_they_did(lab):
    frame = ablab.open(lab).metrics("old").sort("run", "step")
    expected = pl.DataFrame(EXPECTED["metrics_old"], infer_schema_length=None)
    assert frame.columns == expected.columns
    assert "activation/logits/rms" in frame.columns, "a replay added it"
    for name in frame.columns:
        assert frame[name].to_list() == expected[name].to_list(), name


def test_its_curves_and_verdicts_are_the_same(lab):
    opened = ablab.open(lab)
    readings = {run: reading.as_data() for run, reading in opened.readings("old").items()}
    metrics = pl.DataFrame(EXPECTED["metrics_old"], infer_schema_length=None)
    assert readings.keys() == EXPECTED["readings"].keys()
    for run, expected in EXPECTED["readings"].items():
        # The curve reader has changed since: its reading of what was stored then is expected.
        rows = metrics.filter(pl.col("run") == run).sort("step").drop_nulls("train_loss")
        levels = opened.store.experiment("old").levels
        steps, values = rows["step"].to_numpy(), rows["train_loss"].to_numpy()
        again = read_curve(steps, values, "train_loss", levels, "lower")
        assert readings[run] == again.as_data(), run
        for name in ("column", "first", "last", "start", "lowest", "lowest_at", "not_finite"):
            assert readings[run][name] == expected[name], (run, name)
    (verdict,) = opened.verdicts("old")
    (expected,) = EXPECTED["verdicts"]
    assert (verdict.outcome, verdict.claim) == (expected["outcome"], expected["claim"])


def test_its_models_answer_as_they_did(lab):
    run = ablab.open(lab).run(EXPECTED["runs"][0][0])
    tokens = torch.arange(16).remainder(10).reshape(2, 8)[:, :6]
    logits = run.model()(tokens)
    torch.testing.assert_close(logits, torch.tensor(EXPECTED["logits"]), rtol=1e-5, atol=1e-6)


def test_its_captures_and_incidents_are_there(lab):
    opened = ablab.open(lab)
    old, diverged = EXPECTED["runs"][0][0], EXPECTED["runs"][5][0]
    captures = opened.run(old).captures
    assert captures == [0, 20]
    (incident,) = opened.run(diverged).incidents
    assert incident.about["reason"] == "not finite"
    assert opened.run(diverged).incident(incident.step).height > 0


def test_it_is_whole(lab):
    checked = check_store(ablab.open(lab).store)
    assert not checked.problems


def test_its_files_have_digests_after_a_repair(lab):
    store = Store(lab)
    before = check_store(store)
    assert before.problems == []
    assert len(before.uncovered) > 10
    repair_store(store)
    after = check_store(store)
    assert (after.problems, after.uncovered) == ([], [])
    flip(next(iter((lab / "snapshots").rglob("*.safetensors"))), 0.9)
    assert len(check_store(store).problems) == 1


def test_its_interrupted_run_resumes_to_the_same_losses(lab):
    opened = ablab.open(lab)
    (record,) = [each for each in opened.experiments if each.name == "interrupted"]
    opened.store.close()
    asked = ablab.experiment(record.definition)
    result = ablab.run(asked, store=lab, quiet=True, workers=1, engine="stack", compile="off")
    assert (result.trained, result.runs[0].status, result.runs[0].step) == (1, "finished", 30)
    losses = result.metrics(["train_loss"]).drop_nulls("train_loss").sort("step")["train_loss"]
    np.testing.assert_allclose(losses, EXPECTED["interrupted_whole"], rtol=1e-4)
    checked = check_store(ablab.open(lab).store)
    assert not checked.problems
