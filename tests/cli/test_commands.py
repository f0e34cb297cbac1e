"""Each command as a user calls it: what it prints, as a table and as JSON."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from tests.cli.command import run_command
from tests.store.makers import WILD, train

EXPERIMENT = """
question: Does a tiny experiment run?
task: {kind: addition, n_digits: 1}
model: {d_model: 4, n_heads: 1}
train: {steps: 10, batch_size: 8, evaluate: {every: 5, samples: 16}}
grid: {train.lr: [0.001, 0.01]}
seeds: 2
"""


@pytest.fixture(scope="module", autouse=True)
def _wide():
    """Files are 120 columns wide, in which the summary of a run is one table."""
    with mock.patch.dict(os.environ, COLUMNS="120"):
        yield


@pytest.fixture(scope="module")
def lab(_wide, tmp_path_factory):
    """A folder with ``tiny.yaml`` and the store that running it left, and what that printed."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    arguments = ("run", str(folder / "tiny.yaml"), "--store", str(folder / "lab"))
    code, out, err = run_command(*arguments)
    assert code == 0, err
    return folder, out, err


def as_json(*arguments):
    code, out, err = run_command(*arguments, "--json", "--quiet")
    assert code == 0, err
    return json.loads(out)


def test_run_prints_a_table_and_the_entry(lab):
    _, out, err = lab
    lines = out.splitlines()
    assert lines[0].split() == [
        "train.lr",
        "parameters",
        "steps",
        "runs",
        "train_loss",
        "eval_loss",
        "eval_accuracy",
    ]
    assert lines[1].startswith("0.001")
    assert lines[-1].startswith("entry: ")
    assert lines[-1].endswith("-tiny/index.html")
    assert "tiny: training 4 runs in 1 stack with this process" in err
    assert "100%" in err


def test_run_again_has_nothing_to_train(lab):
    folder = lab[0]
    code, out, err = run_command("run", str(folder / "tiny.yaml"), "--store", str(folder / "lab"))
    assert (code, out) == (0, lab[1])
    assert "nothing to train" in err
    data = as_json("run", str(folder / "tiny.yaml"), "--store", str(folder / "lab"))
    assert data["trained"] == 0
    assert [run["status"] for run in data["runs"]] == ["finished"] * 4
    assert data["variants"][0]["variant"] == {"train.lr": 0.001}


def test_plan_trains_and_writes_nothing(lab):
    folder = lab[0]
    data = as_json("plan", str(folder / "tiny.yaml"), "--store", str(folder / "none"))
    assert (data["runs"], data["left"]) == (4, 4)
    assert data["stacks"][0]["engine"] == "stack"
    assert data["seconds"] > 0
    assert data["bytes"] > 0
    assert not (folder / "none").exists()
    code, out, err = run_command("plan", str(folder / "tiny.yaml"), "--store", str(folder / "lab"))
    assert code == 0, err
    assert "0 of 4 runs to train" in out


def test_recipes(lab):
    names = [each["name"] for each in as_json("recipes")]
    assert names == [
        "addition",
        "attention-norms-bugs",
        "attention-norms",
        "attention-simulator-pair",
        "attention-simulator",
        "digit-addition-before",
        "digit-addition-cures",
        "digit-addition-decay",
        "digit-addition-heads",
        "digit-addition-inside",
        "digit-addition-last",
        "digit-addition-next",
        "digit-addition-spikes",
        "digit-addition-tiny",
        "grokking-inside",
        "grokking",
        "hexadecimal",
        "sequences",
        "shakespeare-ladder",
        "shakespeare-nano",
        "thinker-addition",
        "thinker-permuted",
        "thinker-roll",
        "thinker-sequences",
        "thinker-size",
    ]
    assert "log 10 plateau" in run_command("recipes")[1]


def test_runs(lab):
    store = str(lab[0] / "lab")
    runs = as_json("runs", "--store", store)
    assert [run["seed"] for run in runs] == [0, 1, 0, 1]
    assert as_json("runs", "--experiment", "tiny", "--store", store) == runs
    assert "finished" in run_command("runs", "--store", store)[1]


def test_show(lab):
    store = str(lab[0] / "lab")
    run = as_json("runs", "--store", store)[0]["run"]
    data = as_json("show", run[:8], "--store", store)
    assert data["config"]["train"]["lr"] == 0.001
    assert [each["step"] for each in data["snapshots"]] == [0, 1, 2, 4, 8, 10]
    text = run_command("show", run, "--store", store)[1]
    assert "train.lr = 0.001" in text
    assert "steps 0 to 10: engine stack, width 4, cpu" in text
    (segment,) = data["segments"]
    assert list(segment["timings"]) == [
        "data", "forward", "backward", "update", "watch", "evaluate",
    ]  # fmt: skip
    assert segment["memory"] > 2**20
    assert segment["load"]["cpu"] > 0
    assert "per step and run: data " in text
    assert "peak memory " in text


def test_show_tells_restarts(tmp_path):
    store = str(tmp_path / "lab")
    run = train(WILD, tmp_path / "lab", "train.steps=30", "seeds=1").runs[0].run
    assert as_json("show", run, "--store", store)["restarts"][0] == {"step": 7, "back_to": 0}
    assert "restarts     7 -> 0" in run_command("show", run, "--store", store)[1]


def test_metrics(lab):
    store = str(lab[0] / "lab")
    rows = as_json("metrics", "tiny", "--columns", "train_loss,eval_*", "--store", store)
    assert len(rows) == 4 * 11
    assert rows[0]["train_loss"] is None
    assert rows[0]["eval_loss"] > 0
    repeated = ("--columns", "train_loss", "--columns", "eval_*")
    assert as_json("metrics", "tiny", *repeated, "--store", store) == rows
    text = run_command("metrics", "tiny", "--columns", "train_loss", "--store", store)[1]
    table = list(csv.DictReader(io.StringIO(text)))
    assert list(table[0]) == ["run", "experiment", "train.lr", "seed", "step", "train_loss"]
    assert float(table[1]["train_loss"]) == rows[1]["train_loss"]
    one = as_json("metrics", rows[0]["run"], "--columns", "lr", "--store", store)
    cell = {key: rows[0][key] for key in ("train.lr", "seed")}
    assert one[-1] == {"run": rows[0]["run"], **cell, "step": 10, "lr": 0.001}
    code, out, err = run_command("metrics", "tiney", "--store", store)
    assert (code, out) == (2, "")
    assert "did you mean tiny?" in err


def test_note_and_logbook(lab):
    store = str(lab[0] / "lab")
    assert "added to" in run_command("note", "tiny", "it runs", "--store", store)[1]
    (entry,) = as_json("logbook", "--store", store)
    assert "it runs" in Path(entry["entry"]).read_text()
    assert run_command("note", "tiny", " ", "--store", store)[0] == 2


def test_check_finds_damage(lab, tmp_path):
    store = lab[0] / "lab"
    assert as_json("check", "--store", str(store))["problems"] == []
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(store), str(copy)], check=True)
    snapshot = next((copy / "snapshots").rglob("10.safetensors"))
    snapshot.unlink()
    code, out, _ = run_command("check", "--store", str(copy))
    assert code == 1
    assert "damaged snapshot" in out
    assert str(snapshot) in out


def test_data():
    names = [each["name"] for each in as_json("data")]
    assert names == ["python-stdlib", "tinyshakespeare"]
    assert "python3" in as_json("data", "path", "python-stdlib")["path"]
    assert run_command("data", "list")[0] == 0


def test_a_diverged_run_ends_with_code_1(lab, tmp_path):
    code, out, err = run_command(
        "run",
        str(lab[0] / "tiny.yaml"),
        "train.lr=1e4",
        "train.steps=40",
        "--store",
        str(tmp_path / "lab"),
    )
    assert code == 1
    assert "2 diverged" in out
    assert "--retry" in err


def test_help_names_every_command_and_does_not_import_torch():
    code = (
        "import sys; sys.argv = ['ablab', '--help']\n"
        "from ablab.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pydantic', 'polars', 'hydra'} & set(sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    commands = (
        "run",
        "plan",
        "new",
        "recipes",
        "runs",
        "show",
        "metrics",
        "read",
        "effects",
        "expect",
        "claims",
        "analyses",
        "replay",
        "generate",
        "figure",
        "logbook",
        "note",
        "export",
        "serve",
        "doctor",
        "data",
        "check",
    )
    for command in commands:
        assert f"\n  {command} " in found.stdout


def test_listing_runs_does_not_import_torch(lab):
    code = (
        f"import sys; sys.argv = ['ablab', 'runs', '--json', '--store', {str(lab[0] / 'lab')!r}]\n"
        "from ablab.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'polars'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
