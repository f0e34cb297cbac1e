"""What watches the steps of a stack; the room that watches implements it. Axes: R, P, S columns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from ablab.train.taps import TapReducer


class StatisticsCollector(ABC):
    """Is shown a stack's steps, and turns those that it watches into one row of numbers each.

    Attributes:
        names: The columns (S).
    """

    names: tuple[str, ...]

    @abstractmethod
    def watches(self, step: int) -> bool:
        """Whether a step is watched."""

    @abstractmethod
    def tap_reducer(self, step: int) -> TapReducer | None:
        """What is read in a step's passes; None where nothing is."""

    @abstractmethod
    def before(self, step: int, theta: Float[Tensor, "R P"], grad: Float[Tensor, "R P"]) -> None:
        """Sees each step's parameters and gradient, before clipping and update, if it needs to."""

    @abstractmethod
    def after(
        self,
        step: int,
        theta: Float[Tensor, "R P"],
        optimizer_state: Mapping[str, Tensor],
        tapped: Mapping[str, Tensor],
    ) -> Float[Tensor, "R S"]:
        """The numbers of a watched step, on the device.

        Args:
            step: The step.
            theta: Parameters after its update.
            optimizer_state: The optimizer's state after it.
            tapped: What :meth:`tap_reducer` kept of its passes.
        """

    @abstractmethod
    def done(self, step: int) -> None:
        """Told when a step is over, watched or not."""

    @abstractmethod
    def forget(self) -> None:
        """Told where runs were put back to earlier states."""

    @abstractmethod
    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
