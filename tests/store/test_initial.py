"""Initial parameters of another torch: a run starts from those that it was trained from."""

import pytest
import torch

import ablab
from ablab.train import stack as stacks
from tests.store.makers import train
from tests.users_code import ASKED, MODEL

SOLO = {"engine": "solo", "compile": "off"}
TOKENS = torch.tensor([[1, 2, 3]])
LINE = "draws other initial parameters than torch"


@pytest.fixture
def other_torch(monkeypatch):
    """A function that makes torch draw other numbers from the same seed, as another version may."""
    drawn = stacks.initial_seed

    def change():
        monkeypatch.setattr(stacks, "initial_seed", lambda seed: drawn(seed) + 1)
        monkeypatch.setattr(torch, "__version__", "9.9.9")

    return change


def test_the_version_and_a_digest_are_recorded(tmp_path, tiny):
    done = train(tiny, tmp_path / "lab", **SOLO)
    rows = done.store.index.rows("SELECT * FROM initial")
    assert {row["run"] for row in rows} == {run.run for run in done.runs}
    assert {row["torch"] for row in rows} == {torch.__version__}
    assert len({row["digest"] for row in rows}) == 4, "each seed and width has its own"


def test_a_replay_from_the_start_uses_the_stored_ones_and_says_so(tmp_path, tiny, other_torch):
    run = train(tiny, tmp_path / "lab", "model.d_model=8", **SOLO).runs[0].run
    opened = ablab.open(tmp_path / "lab")
    before = opened.replay(run, (1, 5), device="cpu")
    assert (before.equal, before.note) == (5, None)
    other_torch()
    after = opened.replay(run, (1, 5), device="cpu")
    assert after.equal == 5
    assert after.note is not None
    assert LINE in after.note
    assert "\n" not in after.note


def test_without_the_stored_ones_it_says_that_they_are_lost(tmp_path, tiny, other_torch):
    done = train(tiny, tmp_path / "lab", "model.d_model=8", **SOLO)
    run = done.runs[0].run
    (tmp_path / "lab" / "snapshots" / run / "0.safetensors").unlink()
    other_torch()
    report = ablab.open(tmp_path / "lab").replay(run, (1, 5), device="cpu")
    assert report.note is not None
    assert "which are lost" in report.note
    assert not report.agrees


def test_a_resume_from_the_start_uses_them_too(tmp_path, tiny, other_torch, capsys):
    base = {**SOLO, "workers": 1}
    whole = train(tiny, tmp_path / "whole", "model.d_model=8", **base)
    train(tiny, tmp_path / "lab", "model.d_model=8", "train.steps=10", **base)
    for path in (tmp_path / "lab" / "snapshots").glob("*/10.safetensors"):
        path.write_bytes(b"")  # no snapshot to resume from is left
    other_torch()
    again = train(tiny, tmp_path / "lab", "model.d_model=8", **base)
    one, other = (each.metrics(["train_loss"]).drop_nulls() for each in (whole, again))
    assert one["train_loss"].to_list() == other["train_loss"].to_list()
    assert capsys.readouterr().err.count(LINE) == 2, "one line for each run"


def test_an_untrained_model_is_compared(tmp_path, folder, other_torch):
    folder.write(mine=MODEL)
    run = train(ASKED, tmp_path / "lab", **SOLO).runs[0].run
    stored = ablab.open(tmp_path / "lab").run(run)
    logits = stored.model(step=0)(TOKENS)
    assert torch.equal(stored.initial_model().eval()(TOKENS), logits)
    other_torch()
    assert torch.equal(stored.model(step=0)(TOKENS), logits), "they are in a snapshot"
    with pytest.warns(UserWarning, match=LINE):
        stored.initial_model()


def test_buffers_are_in_no_snapshot(tmp_path, folder, other_torch, capsys):
    drawn = MODEL.replace(
        "        self.table =",
        "        self.register_buffer('fixed', torch.zeros(3))\n        self.table =",
    )
    folder.write(mine=drawn)
    run = train(ASKED, tmp_path / "lab", **SOLO).runs[0].run
    other_torch()
    with pytest.warns(UserWarning, match=LINE):
        ablab.open(tmp_path / "lab").run(run).model()
    report = ablab.open(tmp_path / "lab").replay(run, (4, 4), device="cpu")
    assert report.start == 2
    assert report.note is not None
    assert "buffers that are random may be others too" in report.note
    train(ASKED, tmp_path / "lab", "train.steps=6", **SOLO)
    assert capsys.readouterr().err.count("buffers that are random") == 2, "one line for each stack"
