"""Each optimizer against torch's own, every run with its own settings, for 20 steps."""

import pytest
import torch

from ablab.train.config import TrainConfig
from ablab.train.optimizers import make_optimizer

P = 40
TORCH = {
    "adamw": lambda p, c: torch.optim.AdamW(
        p, lr=c.lr, betas=c.betas, eps=c.eps, weight_decay=c.weight_decay
    ),
    "adam": lambda p, c: torch.optim.Adam(
        p, lr=c.lr, betas=c.betas, eps=c.eps, weight_decay=c.weight_decay
    ),
    "sgd": lambda p, c: torch.optim.SGD(
        p, lr=c.lr, momentum=c.momentum, nesterov=c.nesterov, weight_decay=c.weight_decay
    ),
}
CASES = [
    [
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.3},
        {"optimizer": "adamw", "lr": 0.1, "weight_decay": 0.0, "betas": [0.5, 0.9], "eps": 1e-3},
    ],
    [
        {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1},
        {"optimizer": "adam", "lr": 0.05, "betas": [0.8, 0.95]},
    ],
    [
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
        {"optimizer": "sgd", "lr": 0.5},
    ],
    [
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd", "lr": 0.2, "momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
    ],
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_steps_are_torchs_own(case):
    configs = [TrainConfig(**settings) for settings in case]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(configs), P, generator=generator, dtype=torch.float64)
    grads = torch.randn(20, len(configs), P, generator=generator, dtype=torch.float64)
    optimizer = make_optimizer(configs[0])
    theta = start.clone()
    slots = {name: torch.zeros_like(theta) for name in optimizer.slots}
    references = [torch.nn.Parameter(row.clone()) for row in start]
    theirs = [TORCH[c.optimizer]([p], c) for p, c in zip(references, configs, strict=True)]
    for step in range(20):
        rows = [optimizer.scalars(c, step + 1, c.lr) for c in configs]
        scalars = {
            name: torch.tensor([[row[name]] for row in rows], dtype=torch.float64)
            for name in rows[0]
        }
        optimizer.update(theta, grads[step].clone(), slots, scalars, None)
        for parameter, reference, grad in zip(references, theirs, grads[step], strict=True):
            parameter.grad = grad.clone()
            reference.step()
        torch.testing.assert_close(theta, torch.stack([p.detach() for p in references]))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_only_what_should_decays(name):
    config = TrainConfig(optimizer=name, lr=0.1, weight_decay=0.5)
    optimizer = make_optimizer(config)
    theta = torch.ones(1, 4)
    slots = {slot: torch.zeros_like(theta) for slot in optimizer.slots}
    scalars = {
        key: torch.tensor([[value]]) for key, value in optimizer.scalars(config, 1, 0.1).items()
    }
    optimizer.update(theta, torch.zeros(1, 4), slots, scalars, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert (theta[0, :2] < 0.99).all()
    assert (theta[0, 2:] == 1).all()
