"""Only the runs of some cells of a grid are trained now; the others stay planned."""

import pytest

import ablab
from ablab.config import InputError
from ablab.execute.cells import chosen_runs
from ablab.execute.options import Options
from ablab.experiments import experiment
from tests.cli.command import run_command
from tests.store.makers import train
from tests.store.packing import metrics

GRID = ["model.d_model=8,16", "train.lr=0.1,0.01", "seeds=2"]


def statuses(done):
    return {
        (each.variant["model.d_model"], each.variant["train.lr"], each.seed): each.status
        for each in done.runs
    }


def test_the_runs_of_a_cell(tiny, tmp_path):
    asked = experiment(tiny, *GRID)
    for cells, expected in (
        ([], {(8, 0.1), (8, 0.01), (16, 0.1), (16, 0.01)}),
        (["model.d_model=8"], {(8, 0.1), (8, 0.01)}),
        (["model.d_model=8, train.lr=1e-1"], {(8, 0.1)}),
        (["model.d_model=8", "train.lr=0.01"], {(8, 0.1), (8, 0.01), (16, 0.01)}),
    ):
        runs = chosen_runs(asked, Options(where=tuple(cells)))
        assert {(run.model.d_model, run.train.lr) for run in runs} == expected
        assert len(runs) == 2 * len(expected)


def test_cells_are_trained_and_the_others_later(tiny, tmp_path):
    lab = tmp_path / "lab"
    first = train(tiny, lab, *GRID, where=("model.d_model=8, train.lr=0.1",))
    assert first.complete and first.trained == 2
    found = statuses(first)
    assert len(found) == 8
    assert {key for key, status in found.items() if status == "finished"} == {
        (8, 0.1, 0),
        (8, 0.1, 1),
    }
    second = train(tiny, lab, *GRID)
    assert second.trained == 6
    assert set(statuses(second).values()) == {"finished"}
    train(tiny, tmp_path / "whole", *GRID)
    here, there = metrics(lab), metrics(tmp_path / "whole")
    assert here.select("run", "step").equals(there.select("run", "step"))
    assert (here["train_loss"] - there["train_loss"]).abs().max() < 1e-5


def test_several_processes_train_the_cells_only(tiny, tmp_path):
    done = train(tiny, tmp_path / "lab", *GRID, where=("train.lr=0.1",), workers=2)
    assert done.complete and done.trained == 4
    assert sum(status == "finished" for status in statuses(done).values()) == 4


def test_in_python(tiny, tmp_path):
    done = ablab.run(tiny, *GRID, store=tmp_path / "lab", quiet=True, where="model.d_model=16")
    assert done.trained == 4
    again = ablab.run(
        tiny, *GRID, store=tmp_path / "lab", quiet=True, where=["model.d_model=16", "train.lr=0.1"]
    )
    assert again.trained == 2


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("model.d_model=32", "no variant is in this cell"),
        ("model.n_heads=1", "no variant is in this cell"),
        ("model.d_model", "cell"),
        ("", "cell"),
    ],
)
def test_a_cell_that_is_none(tiny, tmp_path, cell, said):
    with pytest.raises(InputError, match=said):
        ablab.run(tiny, *GRID, store=tmp_path / "lab", quiet=True, where=cell)
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("seeds={from: 3, to: 5}", "adds seeds"),
        ("halving={rungs: [5], keep: 1/2}", "halves its variants"),
        ("tune={over: {train.lr: 'loguniform(1e-3, 1e-1)'}, trials: 2, seeds: 1}", "tunes"),
    ],
)
def test_rounds_choose_by_themselves(tiny, tmp_path, more, said):
    with pytest.raises(InputError, match=said):
        ablab.run(
            tiny, "model.d_model=8,16", more, store=tmp_path / "lab", quiet=True,
            where="model.d_model=8",
        )  # fmt: skip
    assert not (tmp_path / "lab").exists()


def test_the_commands(tmp_path):
    grid = ["addition", "model.d_model=8,12", "model.n_heads=1", "train.steps=20", "seeds=1"]
    where = ["--where", "model.d_model=12"]
    code, out, _ = run_command("plan", *grid, *where, "--store", str(tmp_path / "lab"))
    assert code == 0 and "1 of 2 runs to train" in out
    run = ["run", *grid, *where, "--store", str(tmp_path / "lab"), "--workers", "1"]
    assert run_command(*run)[0] == 0
    _, _, errors = run_command(*run)
    assert "nothing to train: the run of these cells is in" in errors
    code, _, errors = run_command("plan", *grid, "--where", "model.d_model=9")
    assert code == 2 and "no variant is in this cell" in errors
