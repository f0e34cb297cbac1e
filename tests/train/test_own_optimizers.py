"""Optimizers of a user's own: by import path, with settings and state of their own, and alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.execute.options import Options
from ablab.execute.plan import make_plan
from ablab.execute.speeds import Speeds
from ablab.experiments import experiment
from ablab.model.roles import Role
from ablab.store.snapshot_files import check_snapshot, snapshot_path
from ablab.store.snapshots import read_state
from ablab.train.config import TrainConfig
from ablab.train.method import SOLO, STACK
from ablab.train.optimizer import like_parameters, make_optimizer
from ablab.train.optimizer_config import OPTIMIZERS
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import Stack, initial_model
from ablab.watching.step_statistics import StepStatistics
from tests.helpers import make_run
from tests.store.makers import train

CPU = torch.device("cpu")
MINE = "tests.train.my_optimizers:"
LAYOUT = ParameterLayout(
    ("wte", "w", "b"), tuple(map(torch.Size, [(5, 3), (3, 4), (4,)])),
    (Role.EMBEDDING, Role.MATRIX, Role.BIAS),
)  # fmt: skip


def asked(optimizer, *overrides, **settings):
    return experiment(
        {
            "name": "own",
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
            "train": {"batch_size": 8, "steps": 20, "lr": 0.01, "optimizer": optimizer} | settings,
            "seeds": 2,
        },
        *overrides,
    )


def test_settings_of_its_own_are_complete_and_typed():
    config = TrainConfig(optimizer=MINE + "Signs")
    assert config.optimizer == {"kind": MINE + "Signs", "scale": 1.0, "rows": False}
    assert config.weight_decay == 0.25, "its default of a setting of training"
    config = TrainConfig(optimizer={"kind": MINE + "Signs", "scale": "2"}, weight_decay=0.5)
    own = config.optimizer_config
    assert (own.scale, own.rows, own.weight_decay) == (2.0, False, 0.5)
    assert TrainConfig(optimizer={"kind": "adam"}).optimizer == "adam"
    assert TrainConfig(optimizer=MINE + "Factored").weight_decay is None


def test_its_settings_are_overridden_and_make_a_grid():
    runs = asked(MINE + "Signs", "train.optimizer.scale=1,2", "seeds=1").runs
    assert [run.train.optimizer["scale"] for run in runs] == [1.0, 2.0]
    both = asked("adam", f"train.optimizer=adam,'{MINE}Signs'", "seeds=1").runs
    assert [run.train.optimizer_config.kind for run in both] == ["adam", MINE + "Signs"]


@pytest.mark.parametrize(
    ("overrides", "message", "suggestion"),
    [
        (["train.optimizer.scael=2"], "scael is not a setting of", "train.optimizer.scale"),
        (["train.optimizer.weight_decay=2"], "is not a setting", "train.weight_decay"),
        (["train.optimizer.scale=high"], "train.optimizer.scale has a wrong value", None),
        (["train.betas=[0.8,0.9]"], "betas is a setting of adam and adamw and lion", None),
        (["train.optimizer=math:sqrt"], "math:sqrt is not an optimizer", None),
        (["train.optimizer=tests.train.my_optimizers:Sings"], "has no 'Sings'", "Signs"),
        (["train.optimizer=no.such.module:Signs"], "cannot import", None),
        (["train.optimizer=adamm"], "unknown value", "adam"),
        (["train.optimizer=[1]"], "name of an optimizer, or a mapping", None),
        (["train.optimizer={kind: adam, rho: 1}"], "rho is not a setting of adam", None),
        ([f"train.optimizer='{MINE}Open'"], r"the argument \*\*others of Open cannot be", None),
    ],
)
def test_an_error_names_the_key_and_what_is_near(overrides, message, suggestion):
    with pytest.raises(InputError, match=message) as caught:
        asked(MINE + "Signs", *overrides)
    (problem,) = caught.value.problems
    assert problem.key.startswith("train")
    assert problem.suggestion == suggestion


def test_ids_hold_its_import_path_settings_and_source(tmp_path, monkeypatch):
    identity = asked(MINE + "Signs").runs[0].train.identity()
    assert identity["optimizer"] == {"kind": MINE + "Signs", "scale": 1.0, "rows": False}
    assert len(identity["optimizer_source"]) == 64
    assert "betas" not in identity
    ids = {
        asked(MINE + "Signs", *overrides).runs[0].id
        for overrides in ([], ["train.optimizer.scale=2"], ["train.weight_decay=0.1"])
    }
    assert len(ids) == 3
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for text in ("", "    rho = 1\n", "# a comment\n"):
        source = "from ablab.train.optimizers.lion import Lion\nclass Mine(Lion):\n    pass\n"
        (tmp_path / "changing_optimizer.py").write_text(source + text)
        sys.modules.pop("changing_optimizer", None)
        found.append(asked("changing_optimizer:Mine").runs[0].id)
    assert found[0] != found[1]
    assert found[0] == found[2]
    assert "optimizer_source" not in TrainConfig(optimizer="lion").identity()


def test_a_class_made_from_a_shipped_one_trains_as_it_does():
    mine = asked(MINE + "OwnLion", "train.betas=[0.8,0.95]").runs
    assert asked(MINE + "OwnLion").runs[0].train.betas == (0.9, 0.99)
    shipped = asked("lion", "train.betas=[0.8,0.95]").runs
    losses = [Stack(runs, None, CPU, STACK).advance(10).losses for runs in (mine, shipped)]
    np.testing.assert_array_equal(*losses)


def test_runs_of_one_stack_differ_in_numbers_alone():
    runs = asked(MINE + "Signs", "train.optimizer.scale=1,3", "seeds=1").runs
    assert len({run.stack_key for run in runs}) == 1
    found = Stack(runs, None, CPU, STACK).advance(10).losses
    for index, run in enumerate(runs):
        alone = Stack([run], None, CPU, SOLO).advance(10).losses
        np.testing.assert_allclose(found[:, index], alone[:, 0], rtol=1e-4)
    runs = asked(MINE + "Signs", "train.optimizer.rows=true,false", "seeds=1").runs
    assert len({run.stack_key for run in runs}) == 2


def test_state_of_any_shape_is_stacked_and_narrowed():
    runs = [make_run(seed, optimizer=MINE + "Factored", precision="float64") for seed in range(3)]
    together = Stack(runs, None, CPU, STACK)
    assert together.optimizer_state["count"].shape == (3,)
    losses = together.advance(15).losses
    together.narrow([0, 2])
    assert together.optimizer_state["count"].tolist() == [15, 15]
    rest = together.advance(15).losses
    for index, (run, place) in enumerate([(runs[0], 0), (runs[2], 2)]):
        alone = Stack([run], None, CPU, SOLO)
        found = alone.advance(15).losses
        np.testing.assert_allclose(losses[:, place], found[:, 0], rtol=1e-9)
        np.testing.assert_allclose(rest[:, index], alone.advance(15).losses[:, 0], rtol=1e-9)
        for name, tensor in alone.optimizer_state.items():
            torch.testing.assert_close(together.optimizer_state[name][index], tensor[0])
    assert losses[-5:].mean() < losses[:5].mean()


@pytest.mark.parametrize("optimizer", [MINE + "Factored", "torch.optim:Adafactor"])
def test_state_of_any_shape_is_stored_and_resumed_bit_for_bit(tmp_path, tiny, optimizer):
    settings = ("seeds=2", "model.d_model=8", f"train.optimizer='{optimizer}'")
    train(tiny, tmp_path / "lab", *settings)
    longer = train(tiny, tmp_path / "lab", *settings, "train.steps=40")
    whole = train(tiny, tmp_path / "other", *settings, "train.steps=40")
    assert longer.trained == 2
    assert longer.metrics(["train_loss"]).equals(whole.metrics(["train_loss"]))
    run = longer.experiment.runs[0]
    layout = ParameterLayout.of(initial_model(run))
    names = make_optimizer(run.train.optimizer_config, layout).state_names
    one, other = (read_state(result.store, run.id, 40, layout, names) for result in (longer, whole))
    assert torch.equal(one.theta, other.theta)
    assert all(torch.equal(one.optimizer_state[n], other.optimizer_state[n]) for n in names)
    counter = "count" if "count" in names else "updates"
    assert one.optimizer_state[counter].dtype == torch.long
    assert int(one.optimizer_state[counter]) == 40
    model = ablab.open(tmp_path / "lab").run(run.id).model()
    assert torch.equal(layout.flatten(model), one.theta), "parameters are told from state"


def test_an_optimizer_without_state_leaves_sound_snapshots(tmp_path, tiny):
    settings = ("seeds=1", "model.d_model=8", f"train.optimizer='{MINE}Signs'")
    result = train(tiny, tmp_path / "lab", *settings)
    (run,) = result.runs
    path = snapshot_path(result.store, run.run, 20)
    check_snapshot(path, path.stat().st_size, has_optimizer=True)
    longer = train(tiny, tmp_path / "lab", *settings, "train.steps=40")
    whole = train(tiny, tmp_path / "other", *settings, "train.steps=40")
    assert longer.metrics(["train_loss"]).equals(whole.metrics(["train_loss"]))


@pytest.mark.parametrize("optimizer", [MINE + "Factored", "torch.optim:NAdam"])
def test_state_of_any_shape_goes_back_with_the_run(optimizer):
    settings = {"steps": 60, "lr": 0.02, "schedule": {"warmup": 40}} | {"precision": "float64"}
    recover = {"every": 5, "above": 0.0, "at_most": 9, "lr_factor": 0.5}
    run = make_run(0, optimizer=optimizer, recover=recover, **settings | {"lr": 3.0})
    stack = Stack([run], None, CPU, SOLO)
    advance = stack.advance(40)
    assert advance.restarts
    resumed = Stack([run], [stack.state(0)], CPU, SOLO)
    np.testing.assert_array_equal(stack.advance(20).losses, resumed.advance(20).losses)
    assert np.isfinite(stack.theta.numpy()).all()


def test_state_like_the_parameters_is_watched():
    run = make_run(0, optimizer=MINE + "Factored")
    stack = Stack([run], None, CPU, SOLO)
    assert sorted(like_parameters(stack.optimizer_state, stack.theta)) == ["momentum", "start"]
    collector = StepStatistics(stack, ["optimizer/*/rms"], lambda step: True)
    stack.collector = collector
    places = {name.split("/")[1] for name in collector.names}
    assert places == {"momentum", "start"}
    watched = dict(zip(collector.names, stack.advance(3).watched[0], strict=True))
    view = stack.layout.views(stack.optimizer_state["momentum"])["embedding.weight"]
    found = watched["optimizer/momentum/embedding.weight/rms"]
    np.testing.assert_allclose(found, view.square().mean().sqrt(), rtol=1e-5)


def test_what_cannot_be_stacked_is_planned_alone(tmp_path):
    path = tmp_path / "speeds.json"
    path.write_text(json.dumps({"steps": {}, "compiled": {}, "estimates": [], "power": 2.6e-3}))

    def stacks(optimizer, **options):
        runs = asked(optimizer, "seeds=3").runs
        left = {run.id: 20 for run in runs}
        plan = make_plan(runs, Options(device="cpu", **options), left, Speeds(path))
        return plan.stacks

    assert [len(stack.runs) for stack in stacks(MINE + "Signs", engine="stack")] == [3]
    assert [len(stack.runs) for stack in stacks(MINE + "Alone", engine="stack")] == [1, 1, 1]
    for optimizer in (MINE + "Alone", "torch.optim:NAdam"):
        alone = stacks(optimizer)
        assert [(len(each.runs), each.method.engine) for each in alone] == [(1, "solo")] * 3


def test_a_stack_refuses_what_cannot_be_stacked():
    runs = asked(MINE + "Alone").runs
    with pytest.raises(
        ValueError, match=r"Alone trains one run at a time; 2 runs cannot be stacked"
    ):
        Stack(runs, None, CPU, STACK)
    assert Stack(runs[:1], None, CPU, SOLO).advance(1).losses.shape == (1, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Forgetful", r"returns \['extra'\]; expected its state_names \[\]"),
        ("Flat", r"returns step of shape \(\) for one run; expected a leading run axis"),
    ],
)
def test_state_that_does_not_fit_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        Stack([make_run(0, optimizer=MINE + name)], None, CPU, SOLO)


def test_an_optimizer_is_a_file_found_by_its_name(tmp_path):
    code = (
        "from ablab.train.config import TrainConfig\n"
        "from ablab.train.optimizer_config import OPTIMIZERS\n"
        "import sys, pathlib, ablab.train.optimizers as package\n"
        "package.__path__.append(sys.argv[1])\n"
        "assert OPTIMIZERS.names() == ['adam', 'adamw', 'lion', 'muon', 'normed', 'sgd']\n"
        "config = TrainConfig(optimizer={'kind': 'normed', 'power': 3})\n"
        "assert config.identity()['optimizer'] == {'kind': 'normed', 'power': 3.0}\n"
        "assert TrainConfig(optimizer='muon').optimizer_config.nesterov\n"
        "assert 'torch' not in sys.modules\n"
    )
    (tmp_path / "normed_config.py").write_text(
        "from ablab.train.optimizer_config import OPTIMIZERS, OptimizerConfig\n"
        "@OPTIMIZERS.register('normed')\n"
        "class NormedConfig(OptimizerConfig):\n"
        "    kind: str = 'normed'\n"
        "    power: float = 1.0\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert OPTIMIZERS.names() == ["adam", "adamw", "lion", "muon", "sgd"]
