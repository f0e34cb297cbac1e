"""Analyses that also look at the model of the run's last step."""

import pytest
import torch

import ablab
from ablab.analysis.examine import examine_unit
from ablab.analysis.request import make_request
from ablab.analysis.stored import shown_findings
from ablab.analysis.units import make_units
from ablab.config import InputError
from ablab.store import Store
from ablab.store.metrics import experiment_runs
from tests.analysis import my_analyses
from tests.analysis.test_analyze import ASKED
from tests.store.makers import train

OWN = "tests.analysis.my_analyses:beside_last"
ASKED_ONCE = ASKED | {"grid": {}, "seeds": [0]}


@pytest.fixture
def counted(monkeypatch):
    calls = []
    monkeypatch.setattr(my_analyses, "told", calls.append)
    return calls


def values(found, what):
    rows = found.scalars.filter(name=f"analysis/{OWN}/{what}").select("step", "value")
    return dict(rows.iter_rows())


def test_each_step_is_seen_beside_the_last_one(tmp_path):
    made = train(ASKED_ONCE, tmp_path / "lab", compile="off")
    run = ablab.open(tmp_path / "lab").run(made.runs[0].run)
    found = ablab.analyze(run, OWN, steps=[0, 2, 8])
    assert values(found, "step") == {0: 8, 2: 8, 8: 8}
    weights = [run.model(step).get_parameter("embedding.weight").detach() for step in (2, 8)]
    expected = float((weights[0] - weights[1]).double().square().sum())
    distances = values(found, "distance")
    assert distances[2] == pytest.approx(expected) and distances[8] == 0 < distances[0]


def test_models_that_are_analyzed_together_share_the_last_one(tmp_path):
    made = train(ASKED_ONCE, tmp_path / "lab", compile="off")
    run = ablab.open(tmp_path / "lab").run(made.runs[0].run)
    (unit,) = make_units([run], [[0, 2, 8]], parts=1)
    found = examine_unit(unit, [make_request(OWN)], lambda run, step, request: True)
    assert [each.scalars["asked"] for each in found] == [1, 2, 3]


def test_earlier_steps_are_computed_again_when_the_run_goes_on(tmp_path, counted):
    made = train(ASKED_ONCE, tmp_path / "lab", compile="off")
    run = ablab.open(tmp_path / "lab").run(made.runs[0].run)
    ablab.analyze(run, OWN, steps=[2, 4])
    ablab.analyze(run, OWN, steps=[2, 4])
    assert len(counted) == 3  # 0, 2 and 4, once
    longer = ASKED_ONCE | {"train": ASKED_ONCE["train"] | {"steps": 12}}
    train(longer, tmp_path / "lab", compile="off")
    found = ablab.analyze(ablab.open(tmp_path / "lab").run(run.id), OWN, steps=[2, 4])
    assert len(counted) == 6 and set(values(found, "step").values()) == {12}


def test_other_analyses_do_not_depend_on_the_last_step(tmp_path):
    made = train(ASKED_ONCE, tmp_path / "lab", compile="off")
    run = ablab.open(tmp_path / "lab").run(made.runs[0].run)
    plain, looking = make_request("parameter_norms"), make_request(OWN)
    assert plain.key_of(run) == plain.key
    assert looking.key_of(run) == looking.key_with(8) != looking.key_with(12)


def test_a_model_from_elsewhere_is_its_own_last():
    model = torch.nn.Module()
    model.embedding = torch.nn.Embedding(2, 2)
    found = ablab.analyze(model, OWN)
    assert found.scalars["value"].to_list() == [-1, 1, 0]


def test_an_experiment_sees_its_runs_up_to_its_own_steps(tmp_path, counted):
    made = train(ASKED_ONCE, tmp_path / "lab", compile="off")
    longer = ASKED_ONCE | {"name": "longer", "train": ASKED_ONCE["train"] | {"steps": 12}}
    train(longer, tmp_path / "lab", compile="off")
    name, store = ASKED_ONCE["name"], tmp_path / "lab"
    found = ablab.analyze(name, OWN, store=store)
    assert set(values(found, "step").values()) == {8} and max(values(found, "step")) == 8
    assert set(values(ablab.analyze(name, OWN, steps="last", store=store), "step")) == {0, 8}
    with pytest.raises(InputError, match="no snapshot of step 12"):
        ablab.analyze(name, OWN, steps=[12], store=store)
    opened, before = Store(store), len(counted)
    first, second = (opened.experiment(each) for each in (name, "longer"))
    (shown,) = shown_findings(opened, experiment_runs(opened, first))
    assert set(values(shown.found, "step").values()) == {8}
    assert set(values(ablab.analyze("longer", OWN, store=store), "step").values()) == {12}
    assert len(counted) > before
    # What was found beside the model of step 12 says nothing of an experiment of 8 steps.
    assert shown_findings(opened, experiment_runs(opened, first)) == []
    (shown,) = shown_findings(opened, experiment_runs(opened, second))
    assert set(values(shown.found, "step").values()) == {12}
    assert made.runs[0].run == experiment_runs(opened, second)[0].run


def test_an_analysis_of_ones_own_may_refuse_some_models(tmp_path):
    train(ASKED_ONCE, tmp_path / "lab", compile="off")
    own = "tests.analysis.my_analyses:trained_only"
    found = ablab.analyze(ASKED_ONCE["name"], own, steps=[0, 2, 8], store=tmp_path / "lab")
    rows = found.scalars.filter(name=f"analysis/{own}/step").select("step", "value")
    assert dict(rows.iter_rows()) == {2: 2, 8: 8}
