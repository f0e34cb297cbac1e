"""Any optimizer with the interface of ``torch.optim``, for one run. Axes: R = 1, P parameters."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.config import load_object
from ablab.config.own_parts import has_argument, part_error
from ablab.train.optimizer import Optimizer, OptimizerState, Scalars
from ablab.train.optimizer_config import KEY, TorchOptimizerConfig
from ablab.train.optimizer_trial import check_torch_optimizer
from ablab.train.parameter_layout import ParameterLayout

_UPDATES = "updates"  # counts updates: torch creates most state in the first one


class TorchOptimizer(Optimizer[TorchOptimizerConfig]):
    """Wraps a ``torch.optim.Optimizer`` and stores its state in state tensors.

    State that every parameter has in its own shape (``exp_avg``) becomes a row like the
    parameters; everything else becomes single tensors ``NAME/PARAMETER``.

    Args:
        config: Its settings.
        layout: The layout of the parameters.

    Raises:
        InputError: The optimizer cannot be created or used with these parameters, or has state
            other than tensors.
    """

    Config: ClassVar = TorchOptimizerConfig
    stackable = False

    def __init__(self, config: TorchOptimizerConfig, layout: ParameterLayout) -> None:
        super().__init__(config, layout)
        self._class = load_object(config.kind, KEY)
        self._params: dict[str, nn.Parameter] = {}
        self._torch: Any
        self._begun: dict[tuple[str, str], Tensor] = {}  # state before the first step
        self._theta: Tensor | None = None
        trial = torch.zeros(1, layout.size)
        try:
            self._hold(trial)
            for parameter in self._params.values():
                parameter.grad = torch.zeros_like(parameter)
            with torch.random.fork_rng(devices=[]):
                self._torch.step()
            found = self._found()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise part_error(KEY, config.kind, f"cannot be used: {reason}") from error
        shapes = dict(zip(layout.names, layout.shapes, strict=True))
        self._rows = tuple(
            name
            for name in dict.fromkeys(name for name, _ in found)
            if all(
                (name, each) in found and found[name, each].shape == shape
                for each, shape in shapes.items()
            )
            and all(found[name, each].is_floating_point() for each in shapes)
        )
        self._apart = {key: value for key, value in found.items() if key[0] not in self._rows}
        self.state_names = (_UPDATES, *self._rows, *(f"{n}/{p}" for n, p in self._apart))

    def check(self) -> None:
        """Tries the optimizer before training; see :mod:`ablab.train.optimizer_trial`.

        A run that is replayed is not checked: earlier releases trained it all the same.

        Raises:
            InputError: It cannot be used, ignores the learning rate of its parameter groups, or
                keeps something elsewhere than in ``self.state`` of its parameters.
        """
        check_torch_optimizer(self, lambda: self._torch, self._class, self.config.kind)

    def initial_state(self, theta: Float[Tensor, "R P"]) -> OptimizerState:
        """Zeros; torch's own initial state is used in the first update."""
        state = {_UPDATES: torch.zeros(len(theta), dtype=torch.long)}
        state |= {name: torch.zeros_like(theta) for name in self._rows}
        return state | {
            f"{name}/{parameter}": torch.zeros(
                (len(theta), *like.shape),
                dtype=theta.dtype if like.is_floating_point() and like.ndim else like.dtype,
            )
            for (name, parameter), like in self._apart.items()
        }

    def scalars(self, config: TorchOptimizerConfig, step: int, lr: float) -> dict[str, float]:
        """The learning rate."""
        return {"lr": lr}

    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Runs a step of torch's optimizer; its parameter groups determine what decays."""
        if self._theta is not theta:
            self._hold(theta)
        for name, view in self.layout.views(grad).items():
            self._params[name].grad = view[0]
        for group in self._torch.param_groups:
            group["lr"] = float(scalars["lr"])
        self._torch.state.clear()
        views = self._views(optimizer_state)
        first = int(optimizer_state[_UPDATES]) == 0
        for (name, parameter), value in (self._begun if first else views).items():
            self._torch.state[self._params[parameter]][name] = value.clone() if first else value
        self._torch.step()
        for key, value in self._found().items():
            if key not in views:
                raise TypeError(f"its state {key[0]} does not exist yet after the first step")
            if value.data_ptr() != views[key].data_ptr():
                views[key].copy_(value)
        optimizer_state[_UPDATES].add_(1)

    def _hold(self, theta: Float[Tensor, "R P"]) -> None:
        """Creates torch's optimizer for parameters that are views of ``theta``."""
        self._theta = theta
        self._params = {n: nn.Parameter(v[0]) for n, v in self.layout.views(theta).items()}
        groups: list[dict[str, Any]] = [{"params": list(self._params.values())}]
        if getattr(self.config, "decay", "all") == "matrices":
            vectors = [p for p in self._params.values() if p.ndim < 2]
            groups = [{"params": [p for p in self._params.values() if p.ndim > 1]}]
            groups.append({"params": vectors, "weight_decay": 0.0})
        rate = {"lr": 1e-3} if has_argument(self._class, "lr") else {}  # it has no default in some
        self._torch = self._class(
            [g for g in groups if g["params"]], **rate, **self.config.arguments
        )
        self._begun = {key: value.clone() for key, value in self._found().items()}

    def _found(self) -> dict[tuple[str, str], Tensor]:
        """Torch's state, by its name and the name of the parameter.

        Raises:
            TypeError: Some state is not a tensor.
        """
        found: dict[tuple[str, str], Tensor] = {}
        for parameter, own in self._params.items():
            for name, value in self._torch.state.get(own, {}).items():
                if value is None:
                    continue
                if not isinstance(value, Tensor):
                    sort = type(value).__name__
                    raise TypeError(
                        f"its state {name} is not a tensor but of type {sort} (a number can be "
                        "torch.zeros(()))"
                    )
                found[name, parameter] = value
        return found

    def _views(self, optimizer_state: OptimizerState) -> dict[tuple[str, str], Tensor]:
        """The state in torch's form, as views of the state tensors."""
        views = {
            (name, parameter): view[0]
            for name in self._rows
            for parameter, view in self.layout.views(optimizer_state[name]).items()
        }
        return views | {
            (name, parameter): optimizer_state[f"{name}/{parameter}"][0]
            for name, parameter in self._apart
        }
