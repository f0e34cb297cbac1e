"""Halving while it trains: rungs, pauses, kills, and runs that resume."""

import json

import pytest
import torch
from click.testing import CliRunner

import ablab
from ablab.cli.main import ablab as cli
from ablab.execute.options import Options
from ablab.execute.planned import plan_experiment
from ablab.execute.progress import Reporter
from ablab.execute.status import status
from ablab.execute.tune import Readers, train_experiment
from ablab.experiments import experiment
from ablab.read.halving_report import halving_report
from ablab.read.rounds import READERS, next_round
from ablab.store.metrics import experiment_metrics, experiment_runs
from ablab.store.rungs import rung_decisions
from ablab.store.store import Store
from ablab.store.transfer import transfer

PINNED = Options("solo", "cpu", 1, compiling="off")
RATES = [1e-5, 1e-3, 1e-2, 3e-2]


HALVED = {
    "name": "halved",
    "question": "Which rate is best?",
    "task": {"kind": "addition", "n_digits": 2},
    "model": {"d_model": 8, "n_heads": 2},
    "train": {
        "steps": 20,
        "batch_size": 16,
        "evaluate": {"every": 10, "samples": 32},
        "snapshots": {"every": 10},
    },
    "watch": {"every": 5, "statistics": []},
    "grid": {"train.lr": RATES},
    "seeds": 2,
    "halving": {"rungs": [5, 15], "keep": "1/2"},
}


@pytest.fixture
def halved():
    """Four learning rates with two seeds: half of them go on after step 5, then after 15."""
    return HALVED


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What becomes of it where nothing interrupts it."""
    return state(train(experiment(HALVED), tmp_path_factory.mktemp("whole") / "lab"))


def train(asked, store, pause=lambda: False, following=next_round, options=PINNED):
    """Trains by rounds, without an entry."""
    with status(True) as shown:
        readers = Readers(following, READERS.values)
        return train_experiment(asked, store, options, "ablab run", Reporter(shown), pause, readers)


def state(done):
    """The statuses and steps of the runs, and the decisions."""
    runs = [(run.run, run.status, run.step) for run in experiment_runs(done.store, done.record)]
    return runs, rung_decisions(done.store, done.record.id)


def test_half_of_each_group_goes_on(halved, tmp_path):
    halved = halved | {"grid": {"model.d_model": [8, 16], "train.lr": RATES}, "seeds": 1}
    halved["halving"] = {"rungs": [5], "keep": "1/2", "within": ["model.d_model"]}
    asked = experiment(halved)
    done = train(asked, tmp_path / "lab")
    paused = [each.variant for each in state(done)[1] if each.outcome == "paused"]
    assert [len([place for place in paused if place // 4 == group]) for group in (0, 1)] == [2, 2]
    least = asked.variants and plan_experiment(asked, tmp_path / "other", PINNED).rounds
    # Two groups of four runs to step 5, of which two go on to step 20.
    assert (
        f"at most {2 * 4 * 20} run-steps" in least and f"at least {2 * (4 * 5 + 2 * 15)}" in least
    )


def test_half_of_the_variants_go_on_after_each_rung(halved, tmp_path):
    asked = experiment(halved)
    done = train(asked, tmp_path / "lab")
    assert (done.trained, done.complete) == (8, True)
    runs, decisions = state(done)
    assert sorted(step for _, _, step in runs) == [5] * 4 + [15] * 2 + [20] * 2
    assert [each for _, each, step in runs if step < 20] == ["stopped"] * 6
    assert [each for _, each, step in runs if step == 20] == ["finished"] * 2
    assert [each.rung for each in decisions] == [5] * 4 + [15] * 2
    assert [each.outcome for each in decisions].count("paused") == 3
    # Every run was evaluated at the rungs that it came to, though the schedule has 0, 10 and 20.
    frame = experiment_metrics(done.store, done.record, ["eval_loss"]).drop_nulls("eval_loss")
    at = {run: frame.filter(frame["run"] == run)["step"].to_list() for run, _, _ in runs}
    assert all(at[run] == [0, 5, 10, 15, 20][: 1 + at[run].index(step)] for run, _, step in runs)
    again = train(asked, tmp_path / "lab")
    assert again.trained == 0
    assert state(again) == (runs, decisions)


def test_paused_runs_resume_bit_for_bit(halved, tmp_path):
    first = train(experiment(halved), tmp_path / "lab")
    paused = [run.run for run in experiment_runs(first.store, first.record) if run.step < 20]
    full = experiment(halved, "halving=null")
    done = train(full, tmp_path / "lab")
    assert done.trained == len(paused) == 6
    whole = train(full, tmp_path / "whole")
    assert [run.status for run in experiment_runs(done.store, done.record)] == ["finished"] * 8
    columns = ["train_loss"]
    one, other = (experiment_metrics(each.store, each.record, columns) for each in (done, whole))
    assert one.equals(other)
    for run in paused:
        theirs, mine = (ablab.open(tmp_path / name).run(run).model() for name in ("whole", "lab"))
        for name, value in theirs.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value)
    # The halved experiment stays as it was, and its page says what the full grid has as the best.
    runs, _ = state(first)
    assert sorted(step for _, _, step in runs) == [5] * 4 + [15] * 2 + [20] * 2
    assert halving_report(first.store, first.record).agreement.startswith("The full grid has")


def test_a_full_grid_that_is_trained_has_nothing_to_pause(halved, tmp_path):
    train(experiment(halved, "halving=null"), tmp_path / "lab")
    done = train(experiment(halved), tmp_path / "lab")
    runs, decisions = state(done)
    assert done.trained == 0
    assert {each for _, each, _ in runs} == {"finished"}
    assert {each.outcome for each in decisions} <= {"goes on", "ended"}


class Killed(BaseException):
    """Ends a command where it is."""


@pytest.mark.parametrize("when", ["training", "deciding", "decided"])
def test_a_killed_command_goes_on_with_the_same_decisions(halved, wanted, tmp_path, when):
    asked = experiment(halved)
    looks = []

    def killed(*args):
        looks.append(when)
        if when == "training" and len(looks) == 3:
            raise Killed
        return False

    def following(store, record):
        if when == "deciding":
            raise Killed
        found = next_round(store, record)
        if when == "decided" and rung_decisions(store, record.id):
            raise Killed  # after the first rung was decided
        return found

    with pytest.raises(Killed):
        train(asked, tmp_path / "lab", killed if when == "training" else lambda: False, following)
    assert state(train(asked, tmp_path / "lab")) == wanted


def test_a_pause_of_the_command_goes_on(halved, wanted, tmp_path):
    asked = experiment(halved)
    done, pauses = None, 0
    while done is None or not done.complete:
        looks = []
        done = train(asked, tmp_path / "lab", lambda looks=looks: looks.append(1) or len(looks) > 3)
        pauses += not done.complete
        assert pauses < 40
    assert pauses > 2
    assert state(done) == wanted


@pytest.mark.slow
def test_worker_processes_train_to_the_rung(halved, wanted, tmp_path):
    options = Options("solo", "cpu", 2, compiling="off", executor="worker_processes")
    asked = experiment(halved)
    found, _ = state(train(asked, tmp_path / "lab", options=options))
    assert found == wanted[0]


def test_a_run_that_is_set_back_is_trained_to_its_rung_only(halved, tmp_path):
    asked = experiment(halved)
    done = train(asked, tmp_path / "lab")
    runs, decisions = state(done)
    run = next(run for run, _, step in runs if step == 5)
    with done.store.index.transaction() as connection:  # as a repair does
        connection.execute("DELETE FROM snapshots WHERE run = ?", (run,))
        connection.execute("UPDATE runs SET step = 0, segments = '[]' WHERE id = ?", (run,))
        connection.execute("UPDATE members SET stopped = NULL WHERE run = ?", (run,))
    assert state(train(asked, tmp_path / "lab")) == (runs, decisions)


def test_decisions_travel_with_the_experiment(halved, tmp_path):
    done = train(experiment(halved), tmp_path / "lab")
    target = Store(tmp_path / "other", create=True)
    transfer(done.store, target, [done.record], "last")
    (record,) = target.experiments()
    assert rung_decisions(target, record.id) == rung_decisions(done.store, done.record.id)
    assert [run.step for run in experiment_runs(target, record)] == [
        run.step for run in experiment_runs(done.store, done.record)
    ]


def test_the_plan_says_what_it_takes_at_most_and_at_least(halved, tmp_path):
    plan = plan_experiment(experiment(halved), tmp_path / "lab", PINNED)
    # 8 runs to step 5, 4 of them to 15 and 2 of them to 20, of 8 runs of 20 steps.
    assert plan.rounds.startswith("halving after step 5, 15: at most 160 run-steps")
    assert f"at least {8 * 5 + 4 * 10 + 2 * 5} (56%)" in plan.rounds


def test_what_commands_say(halved, tmp_path):
    path, lab = tmp_path / "halved.json", str(tmp_path / "lab")
    path.write_text(json.dumps(halved))
    options = ["--store", lab, "--workers", "1", "--compile", "off", "--engine", "solo", "--quiet"]
    told = CliRunner().invoke(cli, ["run", str(path), *options])
    assert told.exit_code == 0, told.output
    assert "Halving paused 3 of 4 variants: 90 of 160 run-steps" in " ".join(told.output.split())
    found = json.loads(CliRunner().invoke(cli, ["run", str(path), *options, "--json"]).output)
    assert len(found["halving"]["decisions"]) == 6
    assert (found["halving"]["run_steps"], found["halving"]["full_run_steps"]) == (90, 160)
    run = next(each["run"] for each in found["runs"] if each["step"] == 5)
    shown = " ".join(CliRunner().invoke(cli, ["show", run, "--store", lab]).output.split())
    assert "by the halving of halved at step 5: the final held-out loss" in shown
    assert "halved with halving=null resumes it" in shown
    data = json.loads(CliRunner().invoke(cli, ["show", run, "--store", lab, "--json"]).output)
    assert [(each["experiment"], each["step"]) for each in data["paused"]] == [("halved", 5)]
    entry = next((tmp_path / "lab" / "logbook").glob("*-halved/entry.md")).read_text()
    assert "## Halving" in entry
    assert "6 of 8 runs were paused by halving at step 5, 15" in entry
    assert "Halving paused 6 of 8 runs because of what they had by then" in entry
    assert "is decided" not in entry  # no variant is told as the best of all


def test_models_of_an_experiment_that_only_ran_halved(halved, tmp_path):
    """Its runs are looked into one by one, and one variant by itself has nothing to halve."""
    done = train(experiment(halved), tmp_path / "lab")
    opened = ablab.open(tmp_path / "lab")
    for run in experiment_runs(done.store, done.record):
        assert opened.run(run.run).model().config.d_model == 8
    paused = next(run for run in experiment_runs(done.store, done.record) if run.step == 5)
    words = ["--steps", "1:3", "--watch", "grad/*/rms", "--store", str(tmp_path / "lab")]
    told = CliRunner().invoke(cli, ["replay", paused.run, *words])
    assert told.exit_code == 0, told.output
    found = ablab.analyze([opened.run(paused.run)], "parameter_norms")
    assert found.scalars["step"].max() == 5


def test_a_resumed_run_is_told_by_the_experiment_that_resumed_it(halved, tmp_path):
    done = train(experiment(halved), tmp_path / "lab")
    paused = next(run.run for run in experiment_runs(done.store, done.record) if run.step == 5)
    train(experiment(halved, "halving=null"), tmp_path / "lab")
    again = train(experiment(halved), tmp_path / "lab")  # asked for last
    assert again.trained == 0
    (record,) = done.store.run_records([paused])
    assert (record.status, record.step) == ("finished", 20)
    shown = CliRunner().invoke(cli, ["show", paused, "--store", str(tmp_path / "lab")]).output
    assert "resumed since" in " ".join(shown.split())


def test_a_stop_rule_does_not_move_a_pause(halved, tmp_path):
    """The run goes on where nothing is halved, and the rule ends it there, after the pause."""
    halved = halved | {"halving": {"rungs": [5], "keep": "1/2"}}
    halved["train"] = halved["train"] | {"stop": {"patience": 2, "min_delta": 1000.0}}
    asked = experiment(halved)
    first = train(asked, tmp_path / "lab")
    before = state(first)
    assert sorted(step for _, _, step in before[0]) == [5] * 4 + [15] * 4
    whole = train(experiment(halved, "halving=null"), tmp_path / "lab")
    assert {step for _, _, step in state(whole)[0]} == {15}
    asked_last = train(asked, tmp_path / "lab")
    records = first.store.run_records([run for run, _, _ in before[0]])
    told = {(run.status, run.step) for run in records}
    assert told == {("stopped", 15)}, "where it came farthest"
    assert state(asked_last) == before
    assert state(train(asked, tmp_path / "lab")) == before
