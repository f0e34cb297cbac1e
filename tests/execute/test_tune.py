"""Tuning: planted optima are found, trials go on after an interrupt, seeds are fresh."""

import json
import math
import sys
from pathlib import Path

import pytest

import ablab
from ablab.config import InputError
from ablab.execute.options import Options
from ablab.execute.planned import plan_experiment
from ablab.execute.progress import QuietReporter
from ablab.execute.tune import Readers, train_experiment
from ablab.read.rounds import READERS
from ablab.read.tuning import tuning_report
from ablab.store import Store
from ablab.store.packs import pack, unpack
from ablab.store.stored_run import StoredRun

OPTIONS = Options(workers=1, compiling="off")
ASKED = {
    "name": "planted",
    "task": {"kind": "addition", "n_digits": 1, "target": "all"},
    "model": {"kind": "bigram"},
    "train": {"steps": 1, "batch_size": 4, "evaluate": {"samples": 4}},
    "grid": {"train.batch_size": [4, 8]},
    "seeds": 2,
    "tune": {"over": {"train.lr": "loguniform(1e-4, 1)"}, "trials": 16, "seeds": 1},
}
BEST = {4: 3e-3, 8: 1e-1}
"""The planted best learning rate of each variant."""


def planted(store, record, measure):
    """A quadratic in the logarithm of the rate, in place of the measure."""
    return {
        run.run: (math.log10(run.variant["train.lr"] / BEST[run.variant["train.batch_size"]])) ** 2
        for run in store.runs(record)
    }


class Reporter(QuietReporter):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.said = []

    def message(self, text):
        self.said.append(text)

    warn = message


def tuned(asked, folder, values=planted, pause=lambda: False, options=OPTIONS):
    """Tunes and trains; returns what was trained and what was said."""
    reporter = Reporter()
    readers = Readers(READERS.following, values)
    store = Store(folder, create=True)
    made = ablab.experiment(asked)
    return train_experiment(made, store, options, "", reporter, pause, readers), reporter.said


def rates(done):
    return {
        variant.keys["train.batch_size"]: variant.parts.train.lr
        for variant in done.experiment.variants
    }


@pytest.mark.parametrize("search", ["sobol", "random", "optuna"])
def test_each_variant_gets_its_own_planted_optimum(search, tmp_path):
    done, _ = tuned(ASKED | {"tune": ASKED["tune"] | {"search": search}}, tmp_path)
    found = rates(done)
    # 16 points of 4 decades: one in each quarter of a decade for Sobol; random ones leave gaps.
    for size, rate in found.items():
        assert abs(math.log10(rate / BEST[size])) < (0.6 if search == "random" else 0.25)
    trained = {run.train.lr for run in done.experiment.runs}
    assert trained == set(found.values())
    trials = done.store.experiment("planted.tuning")
    seeds = {run.seed for run in done.store.runs(trials)}
    assert seeds == {1_000_000_000}
    assert seeds.isdisjoint(run.seed for run in done.store.runs(done.record))
    assert len(done.store.runs(trials)) == 32
    assert done.trained == 32 + 4


def test_an_interrupted_command_goes_on_with_the_same_trials(tmp_path):
    asked = ASKED | {"tune": ASKED["tune"] | {"search": "optuna"}}
    whole, _ = tuned(asked, tmp_path / "whole")
    rounds = []

    def counting(store, record, measure):  # killed when the second round is read
        rounds.append(len(store.runs(record)))
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return planted(store, record, measure)

    with pytest.raises(KeyboardInterrupt):
        tuned(asked, tmp_path / "killed", counting)
    assert rounds == [16, 24]
    store = Store(tmp_path / "killed")
    before = {run.run for run in store.runs()}
    again, said = tuned(asked, tmp_path / "killed")
    assert any("nothing to train" in each for each in said)
    after = {run.run for run in again.store.runs()}
    assert before < after
    assert after == {run.run for run in whole.store.runs()}
    assert rates(again) == rates(whole)
    assert again.experiment.digest == whole.experiment.digest
    once_more, _ = tuned(asked, tmp_path / "killed")
    assert once_more.trained == 0


def test_a_paused_tuning_is_not_complete(tmp_path):
    done, _ = tuned(ASKED, tmp_path, pause=lambda: True)
    assert not done.complete
    assert done.record.name == "planted.tuning"


def test_a_variant_whose_trials_have_no_value_keeps_its_settings(tmp_path):
    def lost(store, record, measure):
        found = planted(store, record, measure)
        of = {run.run: run.variant["train.batch_size"] for run in store.runs(record)}
        return {run: None if of[run] == 8 else value for run, value in found.items()}

    done, said = tuned(ASKED, tmp_path, lost)
    assert abs(math.log10(rates(done)[4] / BEST[4])) < 0.25
    assert rates(done)[8] == 1e-3  # the default
    assert any("train.batch_size=8: no trial has a value" in each for each in said)


def test_higher_is_better_where_the_task_says_so(tmp_path):
    def accuracy(store, record, measure):
        assert measure == "final(eval_accuracy)"
        return {run: 1 - value for run, value in planted(store, record, measure).items()}

    tune = ASKED["tune"] | {"measure": "final(eval_accuracy)"}
    done, _ = tuned(ASKED | {"tune": tune}, tmp_path, accuracy)
    for size, rate in rates(done).items():
        assert abs(math.log10(rate / BEST[size])) < 0.25


def test_what_cannot_be_tuned_is_said_before_anything_is_written(tmp_path, monkeypatch):
    tune = ASKED["tune"]
    with pytest.raises(InputError, match="grad_norm"):
        tuned(ASKED | {"tune": tune | {"measure": "final(grad_norm)"}}, tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match="not installed"):
        tuned(ASKED | {"tune": tune | {"search": "optuna"}}, tmp_path)
    assert not Store(tmp_path).runs()


def test_seeds_that_are_added_are_fresh_too(tmp_path):
    asked = ASKED | {
        "seeds": {"from": 2, "to": 3},
        "train": ASKED["train"] | {"steps": 2},
        "tune": ASKED["tune"] | {"trials": 2},
        "answer": "final(train_loss)",
    }
    done, _ = tuned(asked, tmp_path)
    runs = done.store.runs(done.record)
    assert {run.seed for run in runs} >= {0, 1}
    assert max(run.seed for run in runs) < 3
    assert done.experiment.settling is not None


def test_a_plan_says_what_tuning_costs_at_most(tmp_path):
    found = plan_experiment(ablab.experiment(ASKED), tmp_path / "lab", OPTIONS)
    assert len(found.left) == 4
    assert found.tuning is not None
    assert len(found.tuning.left) == 32
    assert found.tuning.experiment.name == "planted.tuning"
    assert found.before[0].startswith("before, planted.tuning: at most 32 runs to train")
    assert not (tmp_path / "lab").exists()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A tuned experiment with its entry: addition with two widths, eight trials of two seeds."""
    asked = {
        "name": "rates",
        "task": {"kind": "addition", "n_digits": 1, "target": "all"},
        "model": {"kind": "bigram"},
        "train": {"steps": 30, "batch_size": 16, "evaluate": {"every": 10, "samples": 32}},
        "grid": {"train.optimizer": ["adamw", "sgd"]},
        "seeds": [5, 6, 7],
        "tune": {"over": {"train.lr": "loguniform(1e-3, 1)"}, "trials": 8, "seeds": 2},
    }
    folder = tmp_path_factory.mktemp("tuned")
    return ablab.run(asked, store=folder / "lab", quiet=True, workers=1, compile="off")


def test_the_report_says_what_was_found(result):
    report = result.tuning
    assert [each.keys for each in report.variants] == [
        {"train.optimizer": "adamw"},
        {"train.optimizer": "sgd"},
    ]
    assert report.experiment == "rates.tuning"
    assert report.seeds == (1_000_000_000, 1_000_000_001)
    trials = result.store.experiment("rates.tuning")
    losses = {}
    for run in result.store.runs(trials):
        key = run.variant["train.optimizer"], run.variant["train.lr"]
        losses.setdefault(key, []).append(run.eval_loss)
    for each in report.variants:
        name = each.keys["train.optimizer"]
        means = {lr: sum(v) / 2 for (own, lr), v in losses.items() if own == name}
        (setting,) = each.settings
        assert setting.value == min(means, key=means.get)
        assert each.selected == pytest.approx(means[setting.value], rel=1e-6)
        own = [r.eval_loss for r in result.runs if r.variant["train.optimizer"] == name]
        assert each.reported == pytest.approx(sorted(own)[1], rel=1e-6)
        assert each.trials == 8
        assert each.cost.run_steps == 8 * 2 * 30
        assert each.report_cost.run_steps == 3 * 30
        assert 1 <= each.as_good <= 8
    assert {run.seed for run in result.runs} == {5, 6, 7}
    json.dumps(report.as_data())


def test_the_entry_has_a_section(result):
    for name in ("entry.md", "index.html"):
        text = (result.entry.parent / name).read_text()
        assert "Tuning took 960 run-steps" in text  # 2 variants, 8 trials, 2 seeds, 30 steps
        assert "rates.tuning" in text
    repeated = ablab.experiment(str(result.entry.parent / "experiment.yaml"))
    assert {run.id for run in repeated.runs} == {run.run for run in result.runs}


def test_tuned_settings_are_no_axis(result):
    assert [axis.key for axis in result.experiment.axes] == ["train.optimizer"]
    assert all(set(run.variant) == {"train.optimizer"} for run in result.runs)


def test_a_tuned_run_can_be_rebuilt_and_replayed(result):
    found = {e.keys["train.optimizer"]: e.settings[0].value for e in result.tuning.variants}
    opened = ablab.open(result.store.path)
    for record in result.runs[::3]:
        stored = StoredRun(result.store, record)
        assert stored.run.train.lr == found[record.variant["train.optimizer"]]
        assert stored.run.id == record.run
        assert stored.model() is not None
        report = opened.replay(record.run, (1, 5), watch=["grad/*/rms"], device="cpu")
        assert report.difference < 1e-5


def test_a_pack_has_the_trials(result, tmp_path):
    pack(result.store, result.record, tmp_path / "rates.ablab.zip", "last")
    _, records = unpack(tmp_path / "rates.ablab.zip", tmp_path / "other")
    assert {each.name for each in records} == {"rates", "rates.tuning"}
    other = Store(tmp_path / "other")
    record = other.experiment("rates")
    assert tuning_report(other, record) == result.tuning
    entry = other.experiment("rates.tuning").entry
    assert entry is None or Path(entry).name.endswith("rates.tuning")


def test_a_store_without_the_trials_can_be_read(result, tmp_path):
    definition = result.record.definition
    tuned_part = definition["tuned"] | {"by": "elsewhere"}
    other = ablab.experiment(definition | {"tuned": tuned_part})
    assert [run.id for run in other.runs] == [run.id for run in result.experiment.runs]
    store = Store(tmp_path, create=True)
    store.register(other, "", {})
    report = tuning_report(store, store.experiment("rates"))
    assert report.experiment is None
    assert [each.settings[0].value for each in report.variants] == [
        each.settings[0].value for each in result.tuning.variants
    ]
    assert report.sentences[-1] == "The trials are not in this store."


def test_reading_needs_no_optuna(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    definition = result.record.definition
    asked = definition | {"tune": definition["tune"] | {"search": "optuna"}}
    made = ablab.experiment(asked)
    assert [run.id for run in made.runs] == [run.id for run in result.experiment.runs]
    assert tuning_report(result.store, result.record) is not None


HALVED = {
    "name": "halved",
    "question": "Which width is best, each at its own rate?",
    "answer": "final(eval_loss)",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 8, "n_heads": 1},
    "train": {"steps": 20, "batch_size": 16, "evaluate": {"every": 5, "samples": 16}},
    "grid": {"model.d_model": [8, 16]},
    "seeds": 2,
    "tune": {
        "over": {"train.lr": "loguniform(1e-5, 1e-2)"},
        "trials": 4,
        "seeds": 1,
        "halving": {"rungs": [5], "keep": "1/2"},
    },
}


def test_halving_pauses_the_worse_trials_of_each_variant(tmp_path):
    asked = ablab.experiment(HALVED)
    done, said = tuned(HALVED, tmp_path / "lab", READERS.values)
    trials = done.store.experiment("halved.tuning")
    ends = [(run.variant["model.d_model"], run.step) for run in done.store.runs(trials)]
    assert sorted(ends) == [(8, 5), (8, 5), (8, 20), (8, 20), (16, 5), (16, 5), (16, 20), (16, 20)]
    finished = {
        (run.variant["model.d_model"], run.variant["train.lr"])
        for run in done.store.runs(trials)
        if run.step == 20
    }
    chosen = {(run.model.d_model, run.train.lr) for run in done.experiment.runs}
    assert len(chosen) == 2 and chosen <= finished, "a paused trial is never the best"
    report = tuning_report(done.store, done.record)
    assert [each.paused for each in report.variants] == [2, 2]
    assert [each.without_value for each in report.variants] == [0, 0]
    assert report.cost.run_steps == 4 * 5 + 4 * 20
    assert any("2 of 4 trials were paused by halving" in each for each in report.sentences)
    assert any("halving at step 5" in each for each in said)
    again, _ = tuned(HALVED, tmp_path / "lab", READERS.values)
    assert again.trained == 0 and again.experiment == done.experiment
    before = plan_experiment(asked, tmp_path / "other", OPTIONS).before
    assert any("at least 100 (62%)" in line for line in before)
    assert "the worse of which are paused early" in str(asked)


STEP = "steps_to(eval_loss, 1)"


@pytest.mark.parametrize(
    ("halving", "more", "key", "message"),
    [
        ({"rungs": [5], "within": []}, {}, "tune.halving.within", "is not a setting"),
        ({"rungs": [5], "measure": "final(x)"}, {}, "tune.halving.measure", "is not a setting"),
        ({"rungs": [5, 2]}, {}, "tune.halving.rungs", "has a wrong value"),
        ({"rungs": [5], "keep": 2}, {}, "tune.halving.keep", "has a wrong value"),
        ("often", {}, "tune.halving", "not a mapping"),
        ({"rungs": [5]}, {"search": "optuna"}, "tune.halving", "does not go with search: optuna"),
        (
            {"rungs": [5]},
            {"measure": "steps_to(eval_loss, 1)"},
            "tune.halving.measure",
            "not known",
        ),
    ],
)
def test_halving_of_trials_that_is_refused(halving, more, key, message):
    tree = HALVED | {"tune": HALVED["tune"] | {"halving": halving} | more}
    with pytest.raises(InputError, match=message) as raised:
        ablab.experiment(tree)
    assert [problem.key for problem in raised.value.problems] == [key]


@pytest.mark.parametrize(
    ("halving", "key"),
    [
        ({"rungs": [5, 20]}, "tune.halving.rungs"),
        ({"first": 20, "factor": 2}, "tune.halving.first"),
    ],
)
def test_a_rung_of_trials_is_before_their_last_step(halving, key):
    tree = HALVED | {"tune": HALVED["tune"] | {"halving": halving}}
    with pytest.raises(InputError, match="a rung at step 20 is not before the last step") as raised:
        ablab.experiment(tree).resolve()
    assert [problem.key for problem in raised.value.problems] == [key]
