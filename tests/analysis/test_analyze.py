"""An analysis over stored runs and their steps, and of a model from elsewhere."""

from contextlib import contextmanager

import polars as pl
import pytest
import torch
from torch import nn

import ablab
from ablab import api
from ablab.analysis.analysis import NoSettings
from ablab.analysis.chosen import stored_runs
from ablab.analysis.finding import Findings
from ablab.config import InputError
from ablab.experiments.experiment import experiment
from ablab.store.store import Store
from ablab.train.stack import initial_model, make_task
from tests.store.makers import train

ASKED = {
    "name": "looked-into",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1, "dropout": 0.1},
    "train": {"steps": 8, "batch_size": 8, "snapshots": {"every": 4}},
    "grid": {"train.lr": [1e-3, 1e-2]},
    "seeds": [0, 5],
}
OWN = "tests.analysis.my_analyses:"
NORM = "analysis/parameter_norms/blocks.0.attention.query.weight/spectral_norm"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyzed") / "lab"
    made = train(ASKED, folder, compile="off")
    opened = ablab.open(folder)
    return [opened.run(each.run) for each in made.runs]


def value(found, run, step, name):
    rows = found.scalars.filter(run=run.id, step=step, name=name)
    return rows["value"].item()


def test_each_kept_step_of_each_run_is_looked_at(runs):
    found = ablab.analyze(runs, "parameter_norms")
    assert found.scalars.columns == ["run", "seed", "train.lr", "step", "name", "value"]
    assert runs[0].snapshots[-2:] == [4, 8]
    for run in runs:
        own = found.scalars.filter(run=run.id)
        assert sorted(own["step"].unique()) == sorted({0, *run.snapshots})
        assert own["seed"].unique().to_list() == [run.record.seed]
        assert own["train.lr"].unique().to_list() == [run.record.variant["train.lr"]]
        for step in (4, 8):
            weight = run.model(step).get_parameter("blocks.0.attention.query.weight")
            norm = torch.linalg.matrix_norm(weight.detach().double(), 2)
            assert value(found, run, step, NORM) == pytest.approx(float(norm))
    table = found.tables["parameters"]
    assert table.columns[:3] == ["run", "step", "parameter"]
    assert table.select("run", "step").unique().height == sum(
        len({0, *run.snapshots}) for run in runs
    )


def test_the_untrained_model_is_the_control(runs):
    run = runs[0]
    found = ablab.analyze(run, "parameter_norms", steps="last")
    assert sorted(found.scalars["step"].unique()) == [0, 8]
    weight = initial_model(run.run).get_parameter("blocks.0.attention.query.weight")
    norm = torch.linalg.matrix_norm(weight.detach().double(), 2)
    assert value(found, run, 0, NORM) == pytest.approx(float(norm))
    assert value(found, run, 8, NORM) != value(found, run, 0, NORM)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [("all", [0, 1, 2, 4, 8]), ("last", [0, 8]), ("3:7", [0, 4]), ("3:8", [0, 4, 8]), ([4], [0, 4]),
     ("4, 8", [0, 4, 8]), ((8, 4), [0, 4, 8]), ([0], [0])],
)  # fmt: skip
def test_steps_are_chosen(runs, steps, expected):
    found = ablab.analyze(runs[0], OWN + "drawn", steps=steps)
    assert found.scalars["step"].unique(maintain_order=True).to_list() == expected


@pytest.mark.parametrize(
    ("steps", "said"),
    [("5", "no snapshot of step 5(.|\n)*4, 8"), ("5:7", "no snapshot of any of these"),
     ([4, 6], "step 6"), ("first", "not a choice of steps"), ("1:2:3", "not a choice of steps"),
     ([], "these steps")],
)  # fmt: skip
def test_what_is_no_kept_step_is_said(runs, steps, said):
    with pytest.raises(InputError, match=said):
        ablab.analyze(runs[0], "parameter_norms", steps=steps)


def test_an_analysis_may_look_at_the_tasks_samples(runs):
    run = runs[0]
    found = ablab.analyze(run, OWN + "held_out", settings={"samples": 20}, steps="last")
    batch = make_task(run.run).held_out(20)
    logits = run.model(8)(torch.from_numpy(batch.tokens))[:, make_task(run.run).predicted]
    right = logits.argmax(-1).numpy() == batch.targets
    name = f"analysis/{OWN}held_out/accuracy"
    assert value(found, run, 8, name) == pytest.approx(right.mean())
    assert found.tables["positions"].columns == ["run", "step", "position", "accuracy"]


def test_a_model_from_elsewhere_is_one_row_without_run_and_step(runs):
    model = runs[0].model(8)
    own = ablab.analyze(model, "parameter_norms").scalars.drop("run", "step")
    stored = ablab.analyze(runs[0], "parameter_norms", steps="last").scalars.filter(step=8)
    assert own.equals(stored.select("name", "value"))
    with pytest.raises(InputError, match=r"task is not known(.|\n)*task=…"):
        ablab.analyze(model, OWN + "held_out")
    found = ablab.analyze(model, OWN + "held_out", task=make_task(runs[0].run))
    assert found.scalars["value"].item() <= 1


def test_the_model_and_torchs_generator_are_left_as_they_were():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model[0].eval()
    model[1].train()
    before, state = [each.training for each in model.modules()], torch.get_rng_state()
    first = ablab.analyze(model, OWN + "drawn")
    second = ablab.analyze(model, OWN + "drawn")
    assert [each.training for each in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)
    assert first.scalars.equals(second.scalars)
    named = dict(first.scalars.select("name", "value").iter_rows())
    assert named[f"analysis/{OWN}drawn/training"] == 0


def test_a_value_that_is_none_or_infinite_is_null():
    found = ablab.analyze(nn.Linear(1, 1), OWN + "drawn").scalars
    assert found.filter(pl.col("name").str.ends_with("none"))["value"].to_list() == [None]
    found = ablab.analyze(nn.Linear(1, 1), OWN + "of_the_same_name").scalars
    assert found["value"].to_list() == [None] and found["value"].dtype == pl.Float64


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sample": 3}, r"held_out.sample is not a setting(.|\n)*did you mean .*held_out.samples"),
        ({"samples": "many"}, "held_out.samples has a wrong value"),
    ],
)
def test_wrong_settings_are_said(settings, said):
    with pytest.raises(InputError, match=said):
        ablab.analyze(nn.Linear(1, 1), OWN + "held_out", settings=settings)


@pytest.mark.parametrize("subject", [[], b"grokking", 3, [nn.Linear(1, 1)]])
def test_what_cannot_be_looked_at_is_said(subject):
    with pytest.raises(InputError, match="not something to analyze"):
        ablab.analyze(subject, "parameter_norms")


def test_a_name_is_one_of_an_experiment_or_run_in_a_store(runs, tmp_path):
    own = ablab.analyze(runs[0].id[:8], "parameter_norms", store=runs[0].store, steps="last")
    assert own.scalars["run"].unique().to_list() == [runs[0].id]
    with pytest.raises(InputError, match="no experiment called 'grokking'"):
        ablab.analyze("grokking", "parameter_norms", store=runs[0].store.path)
    with pytest.raises(InputError, match="no store here yet"):
        ablab.analyze("grokking", "parameter_norms", store=tmp_path / "nowhere")


def test_findings_print_well(runs):
    settings = {"parameters": ["*.query.*"]}
    found = ablab.analyze(runs[0], "parameter_norms", steps="last", settings=settings)
    assert str(found).startswith("parameter_norms: How large is each parameter")
    assert "blocks.0.attention.query.weight" in str(found)
    assert "<table" in found._repr_html_()
    assert "analysis/" in str(ablab.analyze(nn.Linear(1, 1), OWN + "drawn"))


def test_where_takes_a_number_by_its_value(tmp_path):
    asked = ASKED | {"name": "decays", "grid": {"train.weight_decay": [0.0, 0.5]}, "seeds": 1}
    store = Store(tmp_path / "lab", create=True)
    record = store.register(experiment(asked), "ablab run", {})
    for written, label in [("0", 0.0), ("0.0", 0.0), ("5e-1", 0.5)]:
        (run,) = stored_runs(store, record.name, f"train.weight_decay={written}")
        assert run.record.variant == {"train.weight_decay": label}
    with pytest.raises(InputError, match=r"no run has train\.weight_decay=1"):
        stored_runs(store, record.name, "train.weight_decay=1")


def told_of(rows):
    columns = ["run", "step", "name", "value"]
    schema = {"run": pl.String, "step": pl.Int64, "name": pl.String, "value": pl.Float64}
    frame = pl.DataFrame([dict(zip(columns, row, strict=True)) for row in rows], schema)
    return Findings("mine", "?", NoSettings(), frame, {}, {}).shown()


def test_each_run_is_shown_after_its_own_last_step():
    rows = [("long", 0, 1.0), ("long", 8, 2.0), ("short", 0, 3.0), ("short", 5, 4.0)]
    shown = told_of([(run, step, "analysis/mine/x", value) for run, step, value in rows])
    assert shown.sentences == ["2 runs, 3 steps; the last step of each run is shown"]
    assert [row[-1] for row in shown.rows] == [2.0, 4.0]


def test_a_model_from_elsewhere_has_no_last_step_to_show():
    shown = told_of([(None, None, "analysis/mine/x", 1.0)])
    assert shown.sentences == [] and shown.rows == [("x", 1.0)]


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_hidden_if_asked_for(runs, monkeypatch, quiet):
    asked = []

    @contextmanager
    def status(hidden, notebook):
        asked.append(hidden)
        yield

    monkeypatch.setattr(api, "status", status)
    ablab.analyze(runs[0], "parameter_norms", steps="last", quiet=quiet)
    assert asked == [quiet]


def test_what_was_run_is_analyzed_though_another_of_its_name_came_later(tmp_path):
    first = train(ASKED, tmp_path / "lab", "model.d_model=4", compile="off")
    later = train(ASKED, tmp_path / "lab", "model.d_model=8", "seeds=1", compile="off")
    for each in (first, later):
        found = ablab.analyze(each, "parameter_norms", steps="last")
        assert set(found.scalars["run"]) == {run.run for run in each.runs}
