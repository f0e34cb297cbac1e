import json

import numpy as np
import pytest

from tests.cli.command import run_command
from tests.read.filled import fill, grid, leaving


@pytest.fixture
def store(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    fill(
        tmp_path / "lab",
        grid(steps=300, seeds=2),
        lambda keys, seed, steps: leaving(rng, steps, 1600 / keys["model.d_model"]),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lab"


def test_read_says_what_curves_show(store):
    code, out, _ = run_command("read", "made-up")
    assert code == 0
    assert "model.d_model=8, model.n_heads=1\n  all: log(10) until 19" in out
    assert out.count("seed 1 (") == 6
    code, out, _ = run_command("read", "made-up", "--json")
    found = json.loads(out)
    assert code == 0
    assert len(found["runs"]) == 12
    run = found["runs"][0]
    assert run["plateaus"][0]["name"] == "log(10)"
    assert run["descents"][0]["start"] == pytest.approx(200, abs=10)
    assert found["variants"][0]["sentence"].startswith("log(10)")
    code, out, _ = run_command("read", run["run"][:8])
    assert code == 0
    assert out.count("seed ") == 1


def test_expect_before_and_after_results(store):
    code, out, err = run_command(
        "expect", "made-up", "leaves(log(10)) falls with model.d_model", "--confidence", "0.8"
    )
    assert code == 0
    assert "held" in out
    assert "12 of 12 runs had results" in err
    code, out, _ = run_command("expect", "addition", "accuracy is above 0.9", "--json")
    found = json.loads(out)
    assert (code, found["experiment"], found["added"]) == (0, "addition", ["accuracy is above 0.9"])
    assert found["expectations"][0]["outcome"] == "undecided"
    assert found["expectations"][0]["late"] is False
    again = json.loads(run_command("expect", "addition", "accuracy is above 0.9", "--json")[1])
    assert again["added"] == []
    assert again["expectations"][0]["written"] == found["expectations"][0]["written"]


def test_the_expected_experiment_is_the_one_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ("model.d_model=8", "model.n_heads=1", "train.steps=20", "seeds=1",
                 "watch.statistics=[]")  # fmt: skip
    assert run_command("expect", "addition", *overrides, "loss is above 1")[0] == 0
    assert run_command("run", "addition", *overrides, "--quiet")[0] == 0
    found = json.loads(run_command("expect", "addition", "--json")[1])["expectations"]
    assert [(each["outcome"], each["late"]) for each in found] == [("held", False)]
    text = next((tmp_path / "lab" / "logbook").glob("*-addition/entry.md")).read_text()
    assert "ablab run addition model.d_model=8" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["read", "nothing"], "no experiment and no run 'nothing'"),
        (["read", "made-up", "--column", "eval_los"], "no column eval_los"),
        (["expect", "made-up", "loss flls with model.d_model"], "the expectation cannot be parsed"),
        (["expect", "made-up", "loss falls with model.d_mdel"], "did you mean model.d_model?"),
        (["expect", "made-up", "--confidence", "0.5"], "no expectation was given"),
        (["expect", "made-up", "loss < 1", "--confidence", "7"], "a confidence is a probability"),
        (["expect", "addition"], "addition has no expectations yet"),
        (["expect", "aditon", "loss < 1"], "did you mean addition?"),
        (["effects", "made-up", "--of", "model.d_mdel"], "did you mean model.d_model?"),
        (["effects", "made-up", "--measure", "finl(loss)"], "did you mean final?"),
    ],
)
def test_bad_input(store, arguments, message):
    before = {path for path in store.rglob("*") if "index.sqlite-" not in path.name}
    code, out, err = run_command(*arguments)
    assert code == 2, err
    assert message in err
    assert not out
    assert {path for path in store.rglob("*") if "index.sqlite-" not in path.name} == before
