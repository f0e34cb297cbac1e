"""One model as the template of a stack: what differs between its runs must be a parameter."""

import numpy as np
import pytest
import torch

import ablab
from ablab.experiments.experiment import experiment
from ablab.train.method import SOLO, STACK
from ablab.train.stack import Stack, initial_model
from ablab.train.template import program_key
from tests.store.makers import train

CPU = torch.device("cpu")


def asked(module):
    return {
        "name": "plain", "task": {"kind": "addition", "n_digits": 1},
        "model": {"kind": f"tests.train.my_plain_tensors:{module}"},
        "train": {"steps": 6, "batch_size": 8}, "seeds": 3,
    }  # fmt: skip


def test_runs_with_other_tensors_are_not_stacked():
    runs = experiment(asked("Projects")).runs
    with pytest.raises(ValueError, match=r"tensor .*projection, which is not registered, differs"):
        Stack(runs, None, CPU, STACK)
    Stack(runs[:1], None, CPU, STACK)
    Stack(experiment(asked("Fixed")).runs, None, CPU, STACK)


def test_each_run_is_trained_with_its_own_tensors(tmp_path):
    made = train(asked("Projects"), tmp_path / "lab", compile="off")
    runs = made.experiment.runs
    assert [each.status for each in made.runs] == ["finished"] * 3
    for run, stored in zip(runs, made.runs, strict=True):
        alone = Stack([run], None, CPU, SOLO).advance(6).losses[:, 0]
        frame = ablab.open(tmp_path / "lab").run(stored.run).metrics(["train_loss"])
        losses = frame.filter(frame["step"] > 0)["train_loss"].to_numpy()
        np.testing.assert_allclose(losses, alone, rtol=1e-6)


def test_programs_of_other_tensors_have_other_keys():
    keys = {}
    for module in ("Projects", "Fixed"):
        runs = experiment(asked(module)).runs
        keys[module] = [program_key(run, initial_model(run)) for run in runs]
    assert len(set(keys["Projects"])) == 3 and len(set(keys["Fixed"])) == 1
    ours = experiment(asked("Fixed") | {"model": {"kind": "bigram"}}).runs
    assert [program_key(run, initial_model(run)) for run in ours] == [
        run.program_key for run in ours
    ]
