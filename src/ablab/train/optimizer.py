"""What every optimizer is: an update of flat parameters with a run axis. Axes: R, P parameters.

Every run's parameters are one row, so an update is a dozen element-wise operations however many
tensors a model has. Settings arrive as float64 scalars per run and step, worked out on the host.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.config import load_object
from ablab.train.optimizer_config import KEY, OptimizerConfig
from ablab.train.parameter_layout import ParameterLayout

Scalars = dict[str, Float[Tensor, "R 1"]]
OptimizerState = dict[str, Tensor]  # each with the leading axis R
ConfigT = TypeVar("ConfigT", bound=OptimizerConfig)


class Optimizer(ABC, Generic[ConfigT]):
    """An update rule. What it remembers is its state; all that it keeps is memory to work in.

    Args:
        config: The settings that all runs of a stack share; those in which they differ come to
            :meth:`scalars` for each run.
        layout: Where the parameters lie in a row, and what they are.

    Attributes:
        Config: The class of its settings.
        stackable: Whether it updates several runs at once. One that does not trains alone.
        state_names: The names of its state tensors.
    """

    Config: ClassVar[type[OptimizerConfig]] = OptimizerConfig
    stackable: ClassVar[bool] = True
    state_names: tuple[str, ...] = ()

    def __init__(self, config: ConfigT, layout: ParameterLayout) -> None:
        self.config, self.layout = config, layout
        self._memory: Tensor | None = None

    def initial_state(self, theta: Float[Tensor, "R P"]) -> OptimizerState:
        """The state before the first step, by name; by default zeros like the parameters.

        A tensor may have any shape and type behind the run axis. Those like the parameters are
        watched by the parameters' names.
        """
        return {name: torch.zeros_like(theta) for name in self.state_names}

    def scratch(self, theta: Float[Tensor, "R P"]) -> Float[Tensor, "R P"]:
        """Memory like ``theta``, the same at every step: fresh pages cost more than the sums."""
        if self._memory is None or self._memory.shape != theta.shape:
            self._memory = torch.empty_like(theta)
        return self._memory

    def decay(
        self, theta: Float[Tensor, "R P"], scalars: Scalars, decays: Float[Tensor, " P"] | None
    ) -> None:
        """Multiplies parameters by one less ``scalars["decay"]``, those that decay."""
        if decays is None:
            theta.mul_(1 - scalars["decay"])
        else:
            theta.mul_(torch.mul(decays, -scalars["decay"], out=self.scratch(theta)).add_(1))

    @staticmethod
    def penalise(
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> Float[Tensor, "R P"]:
        """The gradients with ``scalars["decay"]`` times the parameters, those that decay, added."""
        decay = scalars["decay"] if decays is None else scalars["decay"] * decays
        return grad.addcmul_(theta, decay)

    @abstractmethod
    def scalars(self, config: ConfigT, step: int, lr: float) -> dict[str, float]:
        """The numbers that step ``step`` of one run needs.

        Args:
            config: The run's own settings.
            step: The step, from 1.
            lr: The step's own rate.
        """

    @abstractmethod
    def update(
        self,
        theta: Float[Tensor, "R P"],
        grad: Float[Tensor, "R P"],
        optimizer_state: OptimizerState,
        scalars: Scalars,
        decays: Float[Tensor, " P"] | None,
    ) -> None:
        """Updates ``theta`` and ``optimizer_state`` in place.

        Args:
            theta: Parameters, a row for each run.
            grad: Their gradients; may be overwritten.
            optimizer_state: The state tensors by name.
            scalars: :meth:`scalars` of each run.
            decays: One where a parameter decays and zero elsewhere; None where all decay.
        """


def make_optimizer(config: OptimizerConfig, layout: ParameterLayout) -> Optimizer[Any]:
    """The optimizer that a configuration describes, for parameters that lie as ``layout`` says."""
    cls: type[Optimizer[Any]] = load_object(config.import_path, KEY)
    return cls(config, layout)


def initial_state(optimizer: Optimizer[Any], theta: Float[Tensor, " P"]) -> dict[str, Tensor]:
    """One run's state before the first step, by name, without the run axis.

    Raises:
        ValueError: The optimizer makes other tensors than those that it names.
    """
    state = optimizer.initial_state(theta[None])
    if sorted(state) != sorted(optimizer.state_names):
        raise ValueError(
            f"{type(optimizer).__name__}.initial_state makes {sorted(state)}; expected its "
            f"state_names {sorted(optimizer.state_names)}"
        )
    for name, tensor in state.items():
        if tensor.ndim == 0 or tensor.shape[0] != 1:
            raise ValueError(
                f"{type(optimizer).__name__}.initial_state makes {name} of shape "
                f"{tuple(tensor.shape)} for one run; expected a leading run axis, (1, …)"
            )
    return {name: state[name][0] for name in optimizer.state_names}


def like_parameters(
    optimizer_state: Mapping[str, Tensor], theta: Tensor
) -> dict[str, Float[Tensor, "*R P"]]:
    """The state tensors with a number for each parameter."""
    return {
        name: tensor
        for name, tensor in optimizer_state.items()
        if tensor.shape == theta.shape and tensor.dtype == theta.dtype
    }
