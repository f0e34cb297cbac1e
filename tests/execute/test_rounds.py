"""Rounds of training, of an experiment that adds seeds until its questions are settled."""

import json

import pytest

import ablab
from ablab.api import READERS
from ablab.execute.options import Options
from ablab.execute.orchestrate import orchestrate
from ablab.execute.progress import Reporter
from ablab.execute.status import status
from ablab.execute.tune import train_experiment
from ablab.store.store import Store
from tests.cli.command import run_command

ASKED = {
    "name": "rates",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"kind": "bigram"},
    "train": {"steps": 30, "batch_size": 8, "optimizer": "sgd"},
    "watch": {"statistics": []},
    "grid": {"train.lr": [0.001, 1.0, 1.001]},
    "seeds": {"from": 3, "to": 8, "give_up": 0},
    "expect": [
        "final(train_loss) is lower where train.lr=1.0 than where train.lr=0.001",
        "final(train_loss) is lower where train.lr=1.0 than where train.lr=1.001",
    ],
}


def train(lab, pause=lambda: False):
    options = Options(engine="solo", compiling="off", workers=1)
    with status(True) as shown:
        return train_experiment(
            ablab.experiment(ASKED),
            lab,
            options,
            "ablab.run(…)",
            Reporter(shown),
            pause,
            READERS,
        )


def metrics(done):
    return ablab.open(done.store.path).metrics("rates").sort("run", "step")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("rounds") / "lab")


def test_seeds_go_where_a_question_is_open(whole):
    assert whole.complete
    (record,) = whole.store.experiments()
    counts = {}
    for run in whole.store.runs(record):
        assert run.status == "finished"
        counts[run.variant["train.lr"]] = counts.get(run.variant["train.lr"], 0) + 1
    assert counts[1.0] == counts[1.001] == 8
    assert counts[0.001] < 8
    assert whole.trained == sum(counts.values())


def test_the_same_again_trains_nothing(whole):
    again = train(whole.store.path)
    assert (again.trained, again.complete) == (0, True)
    assert len(whole.store.experiments()) == 1


@pytest.mark.parametrize("patience", [12])
def test_a_paused_command_goes_on_with_the_same_rounds(whole, tmp_path, patience):
    left, tries = [0], 0

    def pause():
        left[0] -= 1
        return left[0] < 0

    while True:
        left[0], tries = patience, tries + 1
        done = train(tmp_path / "lab", pause)
        if done.complete:
            break
        done.store.close()
        assert tries < 200
    assert tries > 1
    assert metrics(done).equals(metrics(whole))


def test_fixed_seeds_share_the_runs(whole, tmp_path):
    fixed = ablab.experiment(ASKED, seeds=3)
    with status(True) as shown:
        done = orchestrate(
            fixed, whole.store.path, Options(workers=1), "ablab.run(…)", Reporter(shown),
            lambda: False,
        )  # fmt: skip
    assert done.trained == 0
    assert [run.run for run in Store(whole.store.path).runs(done.record)] == [
        run.id for run in fixed.runs
    ]


def test_the_command(tmp_path):
    path = tmp_path / "rates.yaml"
    path.write_text(json.dumps(ASKED | {"seeds": 2}))
    lab = ["--store", str(tmp_path / "lab"), "--quiet"]
    _, planned, _ = run_command("plan", str(path), "seeds={from:3,to:8}", *lab)
    assert "24 of 24 runs to train" in planned
    assert "at most: each variant begins with 3 seeds" in " ".join(planned.split())
    local = ["--workers", "2", "--compile", "off"]  # processes that read the definition
    code, done, _ = run_command("settle", str(path), "--to", "6", *lab, *local, "--json")
    found = json.loads(done)
    assert code == 0
    assert [each["answer"] for each in found["questions"]] == ["held", "undecided"]
    assert {run["seed"] for run in found["runs"]} == set(range(6))
    shown = run_command("settle", str(path), "--to", "6", *lab, *local)[1]
    assert "1 of 2 questions settled" in " ".join(shown.split())
    page = (tmp_path / "lab" / "logbook").glob("*/index.html")
    assert "<h2>Seeds</h2>" in next(page).read_text()
    code, _, wrong = run_command("settle", str(path), "--to", "1", *lab)
    assert code == 2
    assert "seeds.to has a wrong value" in wrong
