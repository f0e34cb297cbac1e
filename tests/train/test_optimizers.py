"""Each optimizer against torch's own or its paper, each run with its own settings, for 20 steps."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ablab.model.roles import Role
from ablab.train.config import TrainConfig
from ablab.train.optimizer import make_optimizer
from ablab.train.optimizer_config import OPTIMIZERS
from ablab.train.optimizers.muon import orthogonal
from ablab.train.optimizers.one_pass import fused_adam, known_on_device, known_on_host
from ablab.train.parameter_layout import ParameterLayout

P = 40
LARGE = 60_000  # from 50,000 parameters on, a CPU updates by another kernel


def flat(size):
    return ParameterLayout(("x",), (torch.Size([size]),), (Role.VECTOR,))


FLAT = flat(P)
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


def steps(configs, layout, start, grads, decays=None):
    """Parameters after each step."""
    settings = [config.optimizer_config for config in configs]
    optimizer = make_optimizer(settings[0], layout)
    theta = start.clone()
    optimizer_state = {name: torch.zeros_like(theta) for name in optimizer.state_names}
    for step, grad in enumerate(grads, start=1):
        rows = [
            optimizer.scalars(own, step, config.lr)
            for own, config in zip(settings, configs, strict=True)
        ]
        scalars = {
            name: torch.tensor([[row[name]] for row in rows], dtype=theta.dtype) for name in rows[0]
        }
        optimizer.update(theta, grad.clone(), optimizer_state, scalars, decays)
        yield theta


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [P, LARGE])
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[0]))
def test_steps_are_torchs_own(case, size):
    configs = [TrainConfig(**settings) for settings in case]
    start, *grads = drawn(21, len(configs), size)
    references = [torch.nn.Parameter(row.clone()) for row in start]
    theirs = [TORCH[c.optimizer]([p], c) for p, c in zip(references, configs, strict=True)]
    for theta, grad in zip(steps(configs, flat(size), start, grads), grads, strict=True):
        for parameter, reference, own in zip(references, theirs, grad, strict=True):
            parameter.grad = own.clone()
            reference.step()
        torch.testing.assert_close(theta, torch.stack([p.detach() for p in references]))


@pytest.mark.parametrize("size", [P, LARGE])
def test_two_groups_are_those_of_torchs_adamw(size):
    config = TrainConfig(optimizer="adamw", lr=0.01, weight_decay=0.3, decay="matrices")
    start, *grads = drawn(11, 1, size).float()
    decays = torch.zeros(size)
    decays[3:20] = decays[31:] = 1
    decaying, rest = (torch.nn.Parameter(start[0, decays == flag]) for flag in (1, 0))
    groups = [{"params": [decaying], "weight_decay": 0.3}, {"params": [rest], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, betas=config.betas)
    for theta, grad in zip(steps([config], flat(size), start, grads, decays), grads, strict=True):
        decaying.grad, rest.grad = grad[0, decays == 1], grad[0, decays == 0]
        theirs.step()
        torch.testing.assert_close(theta[0, decays == 1], decaying.detach())
        torch.testing.assert_close(theta[0, decays == 0], rest.detach())


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_a_large_run_is_updated_alone_as_in_a_stack(name):
    configs = [TrainConfig(optimizer=name, lr=lr) for lr in (0.01, 0.0, 0.03)]
    start, *grads = drawn(6, 3, LARGE).float()
    *_, together = steps(configs, flat(LARGE), start, grads)
    for run, config in enumerate(configs):
        own = slice(run, run + 1)
        *_, alone = steps([config], flat(LARGE), start[own], [grad[own] for grad in grads])
        assert torch.equal(alone, together[own])


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_numbers_on_a_device_give_the_update_of_those_on_the_host(decay):
    """What CUDA does with a large run alone, as far as a CPU's kernel can be called so."""
    config = TrainConfig(optimizer="adamw", lr=0.01, weight_decay=0.3, betas=[0.8, 0.95], eps=1e-6)
    own, optimizer = config.optimizer_config, make_optimizer(config.optimizer_config, FLAT)
    parts = [(slice(0, 20), True), (slice(20, P), decay == "all")]
    (start, *grads), results = drawn(8, 1, P).float(), []
    for device in (True, False):
        rows = [start[0].clone(), None, torch.zeros(P), torch.zeros(P)]
        for step, grad in enumerate(grads, start=1):
            numbers = optimizer.scalars(own, step, config.lr / step)
            rows[1] = grad[0].clone()
            scalars = {name: torch.tensor([[value]]) for name, value in numbers.items()}
            known = known_on_device(scalars, own) if device else known_on_host(numbers)
            fused_adam(rows, parts, known)
        results.append(rows)
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_lion_is_its_papers():
    configs = [
        TrainConfig(optimizer="lion", lr=0.01, weight_decay=0.3),
        TrainConfig(optimizer="lion", lr=0.1, betas=[0.5, 0.8]),
    ]
    assert configs[0].betas == (0.9, 0.99)
    start, *grads = drawn(21, 2, P)
    theta, mean = start.numpy().copy(), np.zeros((2, P))
    for found, grad in zip(steps(configs, FLAT, start, grads), grads, strict=True):
        for r, config in enumerate(configs):  # algorithm 2 of Chen et al., line by line
            own, (beta1, beta2) = grad[r].numpy(), config.betas
            update = np.sign(beta1 * mean[r] + (1 - beta1) * own)
            theta[r] = theta[r] - config.lr * (update + config.weight_decay * theta[r])
            mean[r] = beta2 * mean[r] + (1 - beta2) * own
        np.testing.assert_allclose(found.numpy(), theta, rtol=1e-10)


MIXED = ParameterLayout(
    ("wte", "norm", "blocks.0.a", "blocks.0.b", "blocks.1.embedding", "head"),
    tuple(map(torch.Size, [(7, 3), (4,), (3, 5), (5, 3), (3, 5), (3, 7)])),
    (Role.EMBEDDING, Role.NORM, Role.MATRIX, Role.RESIDUAL_OUTPUT, Role.MATRIX, Role.UNEMBEDDING),
)
MATRICES = ("blocks.0.a", "blocks.0.b", "blocks.1.embedding")
MUON = [
    TrainConfig(optimizer="muon", lr=0.01, weight_decay=0.3),
    TrainConfig(optimizer="muon", lr=0.02, momentum=0.6, nesterov=True, betas=[0.8, 0.9]),
]


def newton_schulz(matrix):
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / np.linalg.norm(x)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def test_muon_is_its_papers_on_matrices_and_adamw_elsewhere():
    start, *grads = drawn(21, 2, MIXED.size)
    others = [name for name in MIXED.names if name not in MATRICES]
    matrices = [{n: v[r].numpy().copy() for n, v in MIXED.views(start).items()} for r in (0, 1)]
    means = [dict.fromkeys(MATRICES, 0.0) for _ in MUON]
    rest = [
        {name: torch.nn.Parameter(MIXED.views(start)[name][r].clone()) for name in others}
        for r in (0, 1)
    ]
    theirs = [TORCH["adamw"](list(p.values()), c) for p, c in zip(rest, MUON, strict=True)]
    for theta, grad in zip(steps(MUON, MIXED, start, grads), grads, strict=True):
        found, views = MIXED.views(theta), MIXED.views(grad)
        for r, config in enumerate(MUON):
            for name in others:
                rest[r][name].grad = views[name][r].clone()
            theirs[r].step()
            for name in others:
                torch.testing.assert_close(found[name][r], rest[r][name].detach())
            for name in MATRICES:
                own, mu = views[name][r].numpy(), config.momentum
                means[r][name] = mu * means[r][name] + (1 - mu) * own
                step = newton_schulz((1 - mu) * own + mu * means[r][name])
                old = matrices[r][name] * (1 - config.lr * config.weight_decay)
                matrices[r][name] = old - config.lr * 0.2 * 5**0.5 * step
                np.testing.assert_allclose(found[name][r].numpy(), matrices[r][name], rtol=1e-8)


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_is_torchs_within_bfloat16(nesterov):
    config = TrainConfig(optimizer="muon", lr=0.01, nesterov=nesterov)
    layout = ParameterLayout(("blocks.0.a",), (torch.Size([6, 9]),), (Role.MATRIX,))
    start, *grads = drawn(11, 1, 54)
    parameter = torch.nn.Parameter(start.view(6, 9).clone())
    theirs = torch.optim.Muon(
        [parameter], lr=0.01, weight_decay=config.weight_decay, momentum=config.momentum,
        nesterov=nesterov, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for grad in grads:
        parameter.grad = grad.view(6, 9).clone()
        theirs.step()
    *_, last = steps([config], layout, start, grads)
    moved = (parameter.detach() - start.view(6, 9)).norm()
    assert (last.view(6, 9) - parameter.detach()).norm() < 0.02 * moved


def test_orthogonal_matrices_have_singular_values_near_one():
    found = orthogonal(drawn(4, 5, 3))
    values = torch.linalg.svdvals(found)
    assert found.shape == (4, 5, 3)
    assert ((values > 0.6) & (values < 1.3)).all()
    assert not orthogonal(torch.zeros(1, 2, 3)).any()


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_only_what_should_decays(name):
    config = TrainConfig(optimizer=name, lr=0.1, weight_decay=0.5)
    settings = config.optimizer_config
    optimizer = make_optimizer(settings, FLAT)
    theta = torch.ones(1, 4)
    optimizer_state = {slot: torch.zeros_like(theta) for slot in optimizer.state_names}
    scalars = {
        key: torch.tensor([[value]]) for key, value in optimizer.scalars(settings, 1, 0.1).items()
    }
    optimizer.update(
        theta, torch.zeros(1, 4), optimizer_state, scalars, torch.tensor([1.0, 1.0, 0.0, 0.0])
    )
    assert (theta[0, :2] < 0.99).all()
    assert (theta[0, 2:] == 1).all()


def test_what_is_not_given_is_the_optimizers_own():
    muon, sgd = TrainConfig(optimizer="muon"), TrainConfig(optimizer="sgd")
    assert (muon.momentum, muon.nesterov, muon.weight_decay) == (0.95, True, 0.1)
    assert (sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.0, False, 0.0)
    assert not TrainConfig(optimizer="muon", momentum=0).nesterov
    assert sorted(sgd.identity().keys() & {"momentum", "betas", "eps"}) == ["momentum"]
    with pytest.raises(ValidationError, match="eps is a setting of adam and adamw and muon"):
        TrainConfig(optimizer="lion", eps=1e-6)
