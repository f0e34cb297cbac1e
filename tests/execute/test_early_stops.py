"""Runs are expected to stop where like runs did."""

import pytest

import ablab
from ablab.execute.early_stops import ExpectedStop, expected_stops, foreseen_stops
from ablab.execute.options import Options
from ablab.execute.plan import make_plan
from ablab.execute.plan_text import stop_lines
from ablab.execute.speeds import Speeds
from ablab.experiments.experiment import experiment

RULE = "train.stop={measure:train_loss,below:100}"  # true at the first logged step, the fifth


@pytest.fixture
def stopped(tiny, tmp_path):
    """Two seeds each of widths 8 and 16, which a rule has stopped."""
    ablab.run(
        experiment(tiny, RULE), store=tmp_path / "lab", engine="solo", compile="off", workers=1
    )
    return tmp_path / "lab"


def test_words():
    assert ExpectedStop(1200, 900, 1500, 4, 4).text(5000) == (
        "expected to stop near step 1,200 of 5,000, as 4 like runs did"
    )
    assert ExpectedStop(1200, 900, 5000, 3, 4, "model.d_model=8").text(5000) == (
        "expected to stop near step 1,200 of 5,000, as 3 like runs of model.d_model=8 did "
        "(1 more was not stopped)"
    )


def test_other_seeds_are_expected_to_stop_too(tiny, stopped):
    asked = experiment(tiny, RULE, "seeds=3", "train.steps=2000")
    found = expected_stops(asked, stopped)
    assert found == {run.id: ExpectedStop(5, 5, 5, 2, 2) for run in asked.runs}
    left = {run.id: 2000 for run in asked.runs}
    options = Options(device="cpu", workers=1, engine="solo", compiling="off")
    speeds = Speeds()
    with_stops = make_plan(asked.runs, options, left, speeds, None, found)
    without = make_plan(asked.runs, options, left, speeds)
    assert with_stops.seconds < without.seconds / 2
    assert stop_lines(asked, with_stops, left) == [
        "model.d_model=8 and 1 more: expected to stop near step 5 of 2,000, as 2 like runs did"
    ]
    assert stop_lines(asked, without, left) == []


def test_the_nearest_variant_stands_in_for_a_new_one(tiny, stopped):
    # 10 / 8 < 16 / 10, and 16 / 12 < 12 / 8
    asked = experiment(tiny, RULE, "model.d_model=10,12,16", "seeds=1")
    found = expected_stops(asked, stopped)
    assert [found[run.id].variant for run in asked.runs] == [
        "model.d_model=8", "model.d_model=16", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        ("train.stop={measure:train_loss,below:99}",),  # another rule
        (),  # none
        (RULE, "name=other"),
        (RULE, "train.steps=5"),  # does not go beyond
    ],
)
def test_other_runs_are_not_expected_to_stop(tiny, stopped, changed):
    assert expected_stops(experiment(tiny, *changed), stopped) == {}


def test_a_store_need_not_exist(tiny, tmp_path):
    assert expected_stops(experiment(tiny, RULE), tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_runs_that_mostly_do_not_stop_are_not_expected_to(tiny, tmp_path):
    rule = "train.stop={measure:train_loss,below:-1}"  # never true
    asked, more = (experiment(tiny, rule, "model.d_model=8", f"seeds={n}") for n in (2, 4))
    ablab.run(asked, store=tmp_path / "lab", engine="solo", compile="off", workers=1)
    assert expected_stops(more, tmp_path / "lab") == {}


@pytest.mark.parametrize(
    "rule, first",
    [
        ("{measure:train_loss,below:0.5}", 5),  # logged every 5 steps
        ("{measure:train_loss,patience:3}", 20),  # the first value and three after it
        ("{measure:eval_loss,patience:2}", 30),
    ],
)
def test_without_like_runs_the_time_reaches_from_the_first_possible_stop(
    tiny, tmp_path, rule, first
):
    asked = experiment(tiny, f"train.stop={rule}", "train.steps=2000", "train.evaluate.every=10")
    found = foreseen_stops(asked, tmp_path / "none")
    assert found == {run.id: ExpectedStop(2000, first, 2000, 0, 0) for run in asked.runs}
    left = {run.id: 2000 for run in asked.runs}
    options = Options(device="cpu", workers=1, engine="solo", compiling="off")
    speeds = Speeds()
    make_plan(asked.runs, options, left, speeds)  # times the steps
    plan = make_plan(asked.runs, options, left, speeds, None, found)
    without = make_plan(asked.runs, options, left, speeds)
    assert plan.estimate.low < without.estimate.low / 5
    assert (plan.estimate.high, plan.seconds) == (without.estimate.high, without.seconds)
    assert stop_lines(asked, plan, left) == [
        f"model.d_model=8 and 1 more: may stop anywhere from step {first} to 2,000: no like run is "
        "stored, so the time is that of all steps"
    ]
