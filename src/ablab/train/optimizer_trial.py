"""Tries a torch optimizer: does it follow the learning rate, and can a run that uses it resume?"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.config.own_parts import has_argument, part_error
from ablab.train.optimizer import Optimizer
from ablab.train.optimizer_config import KEY

Current = Callable[[], torch.optim.Optimizer]

_STEPS, _RATES = 3, (1e-1, 1e-3)
_DEPTH = 4  # of nested values that are compared
_FOLLOWS_LR = ("for group in self.param_groups:", '    lr = group["lr"]  # not self.lr: it changes')
_IN_STATE = (
    "for p in group['params']:",
    "    t = self.state[p].setdefault('t', torch.zeros(()))",
    "    t += 1  # not group['t'] or self.t: a run that resumes has self.state alone",
)


def check_torch_optimizer(
    wrapped: Optimizer[Any], current: Current, optimizer: type, path: str
) -> None:
    """Tries an optimizer on pseudo-random parameters and gradients.

    Args:
        wrapped: The wrapped optimizer.
        current: Gives the optimizer of torch that made the latest update.
        optimizer: The class of torch.
        path: Its import path, for errors.

    Raises:
        InputError: It raises, ignores the learning rate of its parameter groups, or keeps something
            that is lost when a run resumes.
    """
    trial = _Trial(wrapped, current)
    try:
        with torch.random.fork_rng(devices=[]):
            trial.run()
            follows = not has_argument(optimizer, "lr") or trial.follows_lr()
            resumes = trial.resumes()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise part_error(KEY, path, f"cannot be used: {reason}") from error
    if not follows:
        what = "ignores the learning rate, and so train.lr and train.schedule"
        raise part_error(KEY, path, what, *_FOLLOWS_LR)
    if trial.stray:
        what = f"keeps {', '.join(trial.stray)}, which is lost after each step"
        raise part_error(KEY, path, what, *_IN_STATE)
    if trial.changed:
        names = ", ".join(trial.changed)
        what = f"keeps {names} outside of self.state, which a run that resumes loses"
        raise part_error(KEY, path, what, *_IN_STATE)
    if not resumes:
        what = "makes other steps in a run that resumes: something is kept outside of self.state"
        raise part_error(KEY, path, what, *_IN_STATE)


class _Trial:
    """A few steps of an optimizer.

    Attributes:
        changed: What changes outside of the optimizer's state after its first step.
        stray: What is in its state, but not in that of a parameter.
    """

    def __init__(self, wrapped: Optimizer[Any], current: Current) -> None:
        self._wrapped, self._current = wrapped, current
        self.changed: list[str] = []
        self.stray: list[str] = []
        self._last: Tensor
        self._second: tuple[Tensor, dict[str, Tensor]]  # what the second step begins with

    def run(self) -> None:
        """Makes the steps."""
        theta = _random(0, self._wrapped.layout.size)
        state, seen = self._wrapped.initial_state(theta), []
        for step in range(1, _STEPS + 1):
            self._update(theta, state, step, _RATES[0])
            if step == 1:
                copies = {name: value.clone() for name, value in state.items()}
                self._second = theta.clone(), copies
            seen.append(dict(_outside(self._current())))
        self.changed = [
            name
            for name in seen[-1]
            if any(one.get(name) != other.get(name) for one, other in pairwise(seen))
        ]
        self.stray = list(_stray(self._current()))
        self._last = theta

    def follows_lr(self) -> bool:
        """Whether other steps follow from another learning rate, if the parameters change."""
        theta = _random(0, self._wrapped.layout.size)
        state = self._wrapped.initial_state(theta)
        for step in range(1, _STEPS + 1):
            self._update(theta, state, step, _RATES[1])
        if not torch.equal(theta, self._last):
            return True
        return torch.equal(theta, _random(0, self._wrapped.layout.size))

    def resumes(self) -> bool:
        """Whether another process that goes on after the first step makes the same steps."""
        theta, state = self._second
        for step in range(2, _STEPS + 1):
            self._update(theta, state, step, _RATES[0])
        return torch.allclose(theta, self._last, rtol=1e-4, atol=1e-6, equal_nan=True)

    def _update(self, theta: Tensor, state: dict[str, Tensor], step: int, rate: float) -> None:
        grad = _random(step, self._wrapped.layout.size)
        torch.default_generator.manual_seed(step)
        self._wrapped.update(theta, grad, state, {"lr": torch.full((1, 1), rate)}, None)


def _random(seed: int, size: int) -> Float[Tensor, "1 P"]:
    return torch.randn(1, size, generator=torch.Generator().manual_seed(seed))


def _stray(optimizer: torch.optim.Optimizer) -> Iterator[str]:
    """What an optimizer keeps in its state under another key than a parameter, by name."""
    own = {id(each) for group in optimizer.param_groups for each in group["params"]}
    held: dict[Any, Any] = optimizer.state
    for key, value in held.items():
        if value and id(key) not in own:
            name = repr(key) if isinstance(key, str | int) else f"a {type(key).__name__}"
            yield f"self.state[{name}]"


def _outside(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Any]]:
    """What an optimizer keeps outside of its state, by name, in a form that can be compared."""
    for group in optimizer.param_groups:
        for name, value in group.items():
            if name not in ("params", "lr"):
                yield f'group["{name}"]', _comparable(value)
    for name, value in vars(optimizer).items():
        if name not in ("state", "param_groups"):
            yield f"self.{name}", _comparable(value)


def _comparable(value: Any, depth: int = 0) -> Any:
    """A value that is equal if another one is equal; the type of what cannot be compared."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        data = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
        return tuple(value.shape), hashlib.sha256(data.numpy().data).digest()
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return repr(value)
    if depth < _DEPTH and isinstance(value, dict):
        return [(_comparable(k, depth + 1), _comparable(v, depth + 1)) for k, v in value.items()]
    if depth < _DEPTH and isinstance(value, Sequence | set | frozenset):
        return [_comparable(each, depth + 1) for each in value]
    return type(value).__name__
