"""The interface of optimizers: updates of flat parameters with a run axis. Axes: R, P parameters.

The parameters of a run are one row, so an update is a dozen element-wise operations no matter how
many tensors a model has. Settings arrive as scalars per run and step, computed on the host in
float64.
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
    """An update rule. All of its state is in its state tensors.

    Args:
        config: The settings of the first run. Settings that differ within a stack may be used only
            in :meth:`scalars`.
        layout: The position and role of each parameter in a row.

    Attributes:
        Config: The class of its settings.
        stackable: Whether it can update several runs at once; if not, runs are trained one by one.
        state_names: The names of its state tensors.
    """

    Config: ClassVar[type[OptimizerConfig]] = OptimizerConfig
    stackable: ClassVar[bool] = True
    state_names: tuple[str, ...] = ()

    def __init__(self, config: ConfigT, layout: ParameterLayout) -> None:
        self.config, self.layout = config, layout
        self._memory: Tensor | None = None

    def initial_state(self, theta: Float[Tensor, "R P"]) -> OptimizerState:
        """The state before the first step, by name; by default zeros like ``theta``.

        A tensor may have any shape and dtype behind the run axis. Tensors with the shape and dtype
        of ``theta`` can be watched parameter by parameter.
        """
        return {name: torch.zeros_like(theta) for name in self.state_names}

    def scratch(self, theta: Float[Tensor, "R P"]) -> Float[Tensor, "R P"]:
        """A buffer like ``theta``, reused because allocation would be slower than the update."""
        if self._memory is None or self._memory.shape != theta.shape:
            self._memory = torch.empty_like(theta)
        return self._memory

    def forget_scratch(self) -> None:
        """Drops the buffer of :meth:`scratch`."""
        self._memory = None

    def decay(
        self, theta: Float[Tensor, "R P"], scalars: Scalars, decays: Float[Tensor, " P"] | None
    ) -> None:
        """Multiplies the parameters that decay by ``1 - scalars["decay"]``."""
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
        """Adds ``scalars["decay"]`` times the parameters that decay to the gradients."""
        decay = scalars["decay"] if decays is None else scalars["decay"] * decays
        return grad.addcmul_(theta, decay)

    @abstractmethod
    def scalars(self, config: ConfigT, step: int, lr: float) -> dict[str, float]:
        """The numbers that the update of one run needs at a step.

        Args:
            config: The settings of the run.
            step: The step, starting at 1.
            lr: The learning rate of the step.
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
            theta: Parameters, one row per run.
            grad: Their gradients; may be overwritten.
            optimizer_state: The state tensors by name.
            scalars: :meth:`scalars` of each run.
            decays: One for parameters that decay, zero for others; None if all decay.
        """


def make_optimizer(config: OptimizerConfig, layout: ParameterLayout) -> Optimizer[Any]:
    """Creates the optimizer of a configuration for a parameter layout."""
    cls: type[Optimizer[Any]] = load_object(config.import_path, KEY)
    return cls(config, layout)


def initial_state(optimizer: Optimizer[Any], theta: Float[Tensor, " P"]) -> dict[str, Tensor]:
    """One run's state before the first step, by name, without the run axis.

    Raises:
        ValueError: ``initial_state`` returns other names than ``state_names``, or no run axis.
    """
    state = optimizer.initial_state(theta[None])
    if sorted(state) != sorted(optimizer.state_names):
        raise ValueError(
            f"{type(optimizer).__name__}.initial_state returns {sorted(state)}; expected its "
            f"state_names {sorted(optimizer.state_names)}"
        )
    for name, tensor in state.items():
        if tensor.ndim == 0 or tensor.shape[0] != 1:
            raise ValueError(
                f"{type(optimizer).__name__}.initial_state returns {name} of shape "
                f"{tuple(tensor.shape)} for one run; expected a leading run axis, (1, …)"
            )
    return {name: state[name][0] for name in optimizer.state_names}


def like_parameters(
    optimizer_state: Mapping[str, Tensor], theta: Tensor
) -> dict[str, Float[Tensor, "*R P"]]:
    """The state tensors with the shape and dtype of the parameters."""
    return {
        name: tensor
        for name, tensor in optimizer_state.items()
        if tensor.shape == theta.shape and tensor.dtype == theta.dtype
    }
