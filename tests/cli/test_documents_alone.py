"""``--json``: one document on standard output, whatever users' code prints; and small commands."""

import json
import os
import subprocess
import sys

import pytest

from ablab.cli.main import ablab
from tests.cli.command import run_command

CHATTY = """\
task: {kind: addition, n_digits: 1}
model: {kind: tests.execute.my_parts:Chatty}
train: {steps: 4, batch_size: 8}
seeds: 2
"""
WORD = "a word without a line's end"
TUNED = """\
task: {kind: addition, n_digits: 1}
model: {d_model: 8, n_heads: 1}
train: {steps: 4, batch_size: 8}
tune: {over: {train.lr: "loguniform(1e-4, 1e-2)"}, trials: 2, seeds: 1}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A store with two runs of a model that prints as it computes, and what was said."""
    path = str(tmp_path_factory.mktemp("chatty") / "lab")
    asked = tmp_path_factory.mktemp("asked") / "chatty.yaml"
    asked.write_text(CHATTY)
    options = ("--workers", "1", "--compile", "off", "--store", path, "--json", "--quiet")
    return path, run_command("run", str(asked), *options)


def test_what_a_model_prints_is_not_part_of_the_document(lab):
    _, (code, out, err) = lab
    assert code == 0, err
    assert [run["step"] for run in json.loads(out)["runs"]] == [4, 4]
    assert WORD in err and WORD not in out


def test_a_list_is_printed_piece_by_piece_into_the_document(lab):
    code, out, _ = run_command("runs", "--json", "--store", lab[0])
    assert code == 0 and len(json.loads(out)) == 2


def test_without_json_a_model_may_print(lab):
    run = json.loads(lab[1][1])["runs"][0]["run"]
    code, out, _ = run_command(
        "replay", run, "--steps", "1:2", "--watch", "grad/*/rms", "--store", lab[0], "--quiet"
    )
    assert code == 0 and WORD in out


def test_the_metrics_of_a_run_have_its_cell_and_seed(lab):
    records = json.loads(run_command("runs", "--json", "--store", lab[0])[1])
    wider = ("addition", "model.d_model=4,8", "model.n_heads=1", "train.steps=2", "name=wider")
    code, _, err = run_command(
        "run",
        *wider,
        "train.batch_size=8",
        "--workers",
        "1",
        "--compile",
        "off",
        "--store",
        lab[0],
        "--quiet",
    )
    assert code == 0, err
    rows = json.loads(run_command("runs", "wider", "--json", "--store", lab[0])[1])
    for row in rows:
        words = ("metrics", row["run"], "--columns", "train_loss,seed", "--store", lab[0])
        header, first, *_ = run_command(*words)[1].splitlines()
        assert header == "run,model.d_model,seed,step,train_loss"
        width = row["variant"]["model.d_model"]
        assert first.startswith(f"{row['run']},{width},{row['seed']},")
    alone = run_command("metrics", records[0]["run"], "--store", lab[0])[1]
    assert alone.splitlines()[0].startswith("run,seed,step,train_loss")


@pytest.mark.parametrize(
    "words", [("--json", "path", "python-stdlib"), ("path", "python-stdlib", "--json")]
)
def test_json_of_a_group_is_that_of_its_commands(words):
    code, out, err = run_command("data", *words)
    assert (code, err) == (0, "")
    assert json.loads(out)["name"] == "python-stdlib"


def test_documents_are_utf8_where_the_terminal_is_not(tmp_path):
    asked = tmp_path / "asked.yaml"
    asked.write_text(
        "question: Größer als µ?\ntask: {kind: addition}\ntrain: {steps: 2}\n", "utf-8"
    )
    words = [sys.executable, "-m", "ablab", "plan", str(asked), "--json", "--store", "none"]
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(words, env=env, capture_output=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout.decode("utf-8"))


def test_devices_that_do_not_exist_cannot_replay(lab):
    run = json.loads(lab[1][1])["runs"][0]["run"]
    words = ("--steps", "1:2", "--watch", "grad/*/rms", "--store", lab[0], "--device", "tpu")
    code, _, err = run_command("replay", run, *words)
    assert code == 2 and "no tpu device is available" in err


def test_a_run_without_steps_cannot_be_replayed(tmp_path, lab):
    small = ("model.d_model=4", "model.n_heads=1", "train.steps=4", "seeds=1")
    asked = ("addition", *small, "final(train_loss) is below 5")
    code, _, err = run_command("expect", *asked, "--store", str(tmp_path / "lab"))
    assert code == 0, err
    (run,) = json.loads(run_command("runs", "--json", "--store", str(tmp_path / "lab"))[1])
    words = ("--watch", "grad/*/rms", "--store", str(tmp_path / "lab"))
    code, _, err = run_command("replay", run["run"], *words)
    assert code == 2 and "has no steps yet" in err


def test_expectations_of_what_is_tuned_are_not_lost(tmp_path):
    """Its runs are not known before, so a sentence would be that of runs nobody trains."""
    (tmp_path / "tuned.yaml").write_text(TUNED)
    words = (str(tmp_path / "tuned.yaml"), "final(train_loss) is below 5")
    code, _, err = run_command("expect", *words, "--store", str(tmp_path / "lab"))
    assert code == 2 and "are found when it runs" in err
    assert not (tmp_path / "lab").exists()


def test_claims_of_a_file_with_a_wrong_setting_are_an_error(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: {kind: addition}\nmodel: {d_modell: 8}\n")
    words = (str(tmp_path / "mine.yaml"), "--run", "--store", str(tmp_path / "lab"))
    code, _, err = run_command("claims", *words)
    assert code == 2 and "d_modell is not a setting" in err


@pytest.mark.parametrize("name", sorted(ablab.commands))
def test_every_command_can_be_quiet_and_gives_json(name):
    options = {each for param in ablab.commands[name].params for each in param.opts}
    assert {"--quiet", "--json"} <= options
