"""Replayed losses equal the stored ones; statistics added equal those watched from the start."""

import numpy as np
import polars as pl
import pytest

import ablab
from ablab.config import InputError
from tests.store.makers import WILD, train

ASKED = {
    "name": "asked",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"kind": "transformer", "d_model": 8, "n_heads": 2, "attention": {"bias": False}},
    "train": {
        "steps": 60, "batch_size": 16, "lr": 3e-3, "evaluate": {"every": 30, "samples": 16},
        "snapshots": {"every": 20, "logarithmic": False},
    },
    "seeds": 3,
}  # fmt: skip
PATTERNS = ["activation/blocks.0.*", "grad/*", "param/*/update_ratio", "optimizer/*/rms"]
PLACES = [(1, 6), (31, 40), (57, 60)]


def compared(lab, watched, steps, exact=True):
    """Replays steps of every run; the columns beside those of runs that watched from the start."""
    opened = ablab.open(lab)
    for record in opened.runs():
        found = opened.replay(record.run, steps, watch=PATTERNS)
        assert found.compared == found.rows == steps[1] - steps[0] + 1
        assert found.agrees
        if exact:
            assert found.equal == found.compared, found
        columns = list(found.columns)
        added = opened.run(record.run).metrics(columns)
        own = watched.metrics(columns).filter(pl.col("run") == record.run)
        here = pl.col("step").is_between(*steps)
        # The first step after a start has no gradient before it.
        np.testing.assert_allclose(
            added.filter(here).select(columns).to_numpy(),
            own.filter(here).select(columns).to_numpy(),
            rtol=2e-3, atol=1e-6,
        )  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    asked = ASKED | {"watch": {"every": 1, "statistics": PATTERNS}}
    return train(asked, tmp_path_factory.mktemp("watched") / "lab", engine="solo", compile="off")


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    lab = tmp_path_factory.mktemp("stacked") / "lab"
    train(ASKED, lab, engine="stack", compile="off")
    return lab


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    lab = tmp_path_factory.mktemp("resumed") / "lab"
    train(ASKED, lab, "train.steps=33", engine="solo", compile="off")
    train(ASKED, lab, engine="solo", compile="off")
    return lab


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """One run."""
    lab = tmp_path_factory.mktemp("short") / "lab"
    train(ASKED | {"seeds": 1}, lab, compile="off")
    return lab


@pytest.mark.parametrize("steps", PLACES)
def test_of_runs_in_a_stack(stacked, watched, steps):
    compared(stacked, watched, steps)


@pytest.mark.parametrize("steps", PLACES)
def test_of_a_run_alone_that_was_resumed(resumed, watched, steps):
    compared(resumed, watched, steps)


def test_of_runs_by_two_workers(tmp_path, watched):
    train(ASKED, tmp_path / "lab", engine="stack", compile="off", workers=2)
    compared(tmp_path / "lab", watched, PLACES[1])


def test_of_runs_whose_patterns_were_read(tmp_path, watched):
    pattern = "activation/blocks.0.attn.pattern/*"
    asked = ASKED | {"watch": {"every": 7, "statistics": [pattern]}}
    train(asked, tmp_path / "lab", engine="stack", compile="off")
    compared(tmp_path / "lab", watched, (28, 36))


@pytest.mark.compiled
def test_of_compiled_runs(tmp_path, watched):
    pattern = "activation/blocks.0.resid_post/rms"
    asked = ASKED | {"watch": {"every": 7, "statistics": [pattern]}}
    train(asked, tmp_path / "lab", engine="stack", compile="on")
    compared(tmp_path / "lab", watched, (20, 45))


def test_of_a_run_that_went_back(tmp_path):
    lab = tmp_path / "lab"
    train(WILD, lab, "train.steps=120", "seeds=1", engine="solo", compile="off")
    opened = ablab.open(lab)
    (record,) = opened.runs()
    assert opened.run(record.run).metrics(["restart"])["restart"].drop_nulls().len() > 0
    found = opened.replay(record.run, watch=["param/*/rms"])
    assert found.equal == found.compared == 120


def test_captures_and_every_other_step(short):
    opened = ablab.open(short)
    (record,) = opened.runs()
    found = opened.replay(
        record.run, (10, 30), watch=["grad/*/rms"], every=5,
        capture=["blocks.0.attn.pattern", "param/*"], capture_every=10, samples=4,
    )  # fmt: skip
    assert found.rows == 5 and found.captured == [10, 20, 30]
    run = opened.run(record.run)
    assert run.captures == [10, 20, 30]
    kept = run.captured(20)
    model = run.model(20)
    for name, parameter in model.named_parameters():
        assert (kept[f"param/{name}"] == parameter).all()
    pattern = kept["activation/blocks.0.attn.pattern"]
    assert pattern.shape[:2] == (4, 2)
    assert pattern.sum(-1).allclose(pattern.new_ones(()))


@pytest.mark.parametrize(
    ("steps", "given", "start"),
    [
        ((41, 44), {}, 40),  # step 41 is trained from the state after step 40
        ((40, 44), {}, 20),
        ((41, 44), {"watch": ["grad/*/rms"]}, 40),
        ((41, 44), {"watch": ["grad/model/cosine_previous"]}, 20),  # needs the gradient of step 40
        ((42, 44), {"watch": ["grad/model/cosine_previous"]}, 40),
        ((40, 44), {"capture": ["param/*"]}, 40),  # the parameters after step 40
        ((40, 40), {"capture": ["param/*"]}, 40),
        ((1, 3), {}, 0),
    ],
)
def test_a_replay_starts_at_the_nearest_snapshot(short, steps, given, start):
    opened = ablab.open(short)
    run = opened.run(opened.runs()[0].run)
    found = opened.replay(run.id, steps, **given)
    first = max(steps[0], start + 1)
    assert found.start == start
    assert found.equal == found.compared == steps[1] - first + 1
    if "watch" in given:
        added = run.metrics(list(found.columns)).filter(pl.col("step").is_between(*steps))
        assert added.select(found.columns).null_count().sum_horizontal().item() == 0
    if "capture" in given:
        kept = run.captured(steps[0])
        for name, parameter in run.model(steps[0]).named_parameters():
            assert (kept[f"param/{name}"] == parameter).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": (0, 5)}, "has no steps 0 to 5"),
        ({"steps": (5, 61)}, "1 ≤ A ≤ B ≤ 60"),
        ({"steps": (9, 5)}, "has no steps 9 to 5"),
        ({"watch": ["grad/*/rmss"]}, "no reducer 'rmss'"),
        ({"watch": ["grad/nothing/rms"]}, "matches no statistic"),
        ({"capture": ["blocks.7.attn.z"]}, "matches no tensor"),
    ],
)
def test_what_cannot_be_replayed_is_said(short, given, said):
    opened = ablab.open(short)
    before = sorted(path.name for path in short.rglob("*"))
    with pytest.raises(InputError, match=said):
        opened.replay(opened.runs()[0].run, **given)
    assert sorted(path.name for path in short.rglob("*")) == before
