"""Optimizers with the interface of torch.optim: as in a plain loop of torch, for one run."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from ablab.model.roles import Role
from ablab.model.transformer_config import TransformerConfig
from ablab.train.config import TrainConfig
from ablab.train.method import SOLO
from ablab.train.optimizer import make_optimizer
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import Stack, initial_model
from tests.helpers import make_run

CPU = torch.device("cpu")
MINE = "tests.train.my_optimizers:"
LAYOUT = ParameterLayout(
    ("wte", "w", "b"), tuple(map(torch.Size, [(5, 3), (3, 4), (4,)])),
    (Role.EMBEDDING, Role.MATRIX, Role.BIAS),
)  # fmt: skip

# Torch's own, with state of every sort: factored, counted, begun at one, of the first gradient.
TORCH = {
    "Adafactor": ({"d": 2.0}, {"weight_decay": 0.1}),
    "NAdam": ({"momentum_decay": 0.01}, {"betas": (0.8, 0.99), "eps": 1e-6}),
    "Rprop": ({}, {}),
    "Adagrad": ({"initial_accumulator_value": 0.1}, {}),
    "SGD": ({"dampening": 0.5}, {"momentum": 0.9, "weight_decay": 0.1}),
    "RMSprop": ({"alpha": 0.9, "centered": True}, {}),
    "ASGD": ({}, {}),
}


@pytest.mark.parametrize("name", TORCH)
def test_torchs_optimizers_train_as_in_a_plain_loop(name):
    own, shared = TORCH[name]
    kind = {"kind": f"torch.optim:{name}"} | own
    schedule = {"kind": "cosine", "warmup": 5}
    # A bias of keys has no gradient but rounding, of which some optimizers make whole steps.
    model = TransformerConfig(d_model=8, n_heads=2, attention={"bias": False})
    run = make_run(
        model=model,
        optimizer=kind,
        lr=0.01,
        steps=40,
        schedule=schedule,
        precision="float64",
        **shared,
    )
    first = Stack([run], None, CPU, SOLO)
    found = list(first.advance(15).losses[:, 0])
    second = Stack([run], [first.state(0)], CPU, SOLO)  # which has an optimizer of its own
    found += list(second.advance(25).losses[:, 0])
    model = initial_model(run)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.01, **own, **shared)
    losses = []
    for step in range(1, 41):
        batch = first.task.draw(run.seed, step, 1, 16)
        tokens, targets = torch.from_numpy(batch.tokens[0]), torch.from_numpy(batch.targets[0])
        logits = model(tokens)[:, first.task.predicted]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            done = max(0.0, (step - 5) / 35)
            group["lr"] = 0.01 * (step / 5 if step <= 5 else (1 + np.cos(np.pi * done)) / 2)
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    torch.testing.assert_close(second.theta[0], second.layout.flatten(model))


def test_matrices_alone_decay_in_torchs_too():
    config = TrainConfig(optimizer="torch.optim:NAdam", weight_decay=0.5, decay="matrices", lr=0.1)
    optimizer = make_optimizer(config.optimizer_config, LAYOUT)
    theta = torch.ones(1, LAYOUT.size)
    state = optimizer.initial_state(theta)
    lr = {"lr": torch.tensor([[0.1]])}
    optimizer.update(theta, torch.zeros(1, LAYOUT.size), state, lr, None)
    views = LAYOUT.views(theta)
    assert (views["b"] == 1).all()
    assert (views["w"] < 1).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            MINE + "Counting",
            "its state count is not a tensor but of type int (a number can be torch.zeros(()))",
        ),
        ("torch.optim:LBFGS", "LBFGS cannot be used"),
        ("torch.optim:Muon", "Muon cannot be used"),
    ],
)
def test_torchs_optimizers_that_cannot_be_held_are_refused(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_optimizer(TrainConfig(optimizer=name).optimizer_config, LAYOUT)
