"""The interface of statistics collectors, implemented in ``watching``. Axes: R, P, S columns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from ablab.train.taps import TapReducer


class StatisticsCollector(ABC):
    """Computes statistics of a stack at the steps that it watches.

    Attributes:
        names: The names of the statistics (S).
    """

    names: tuple[str, ...]

    @abstractmethod
    def watches(self, step: int) -> bool:
        """Whether statistics of this step are computed."""

    @abstractmethod
    def tap_reducer(self, step: int) -> TapReducer | None:
        """The tap reducer for the passes of a step; None if no site is tapped."""

    @abstractmethod
    def before(self, step: int, theta: Float[Tensor, "R P"], grad: Float[Tensor, "R P"]) -> None:
        """Called at every step before clipping and update, with parameters and gradient."""

    @abstractmethod
    def after(
        self,
        step: int,
        theta: Float[Tensor, "R P"],
        optimizer_state: Mapping[str, Tensor],
        tapped: Mapping[str, Tensor],
    ) -> Float[Tensor, "R S"]:
        """Called at every watched step after the update; returns its statistics on the device.

        Args:
            step: The step.
            theta: Parameters after the update.
            optimizer_state: The optimizer's state after the update.
            tapped: The results of the step's tap reducer.
        """

    @abstractmethod
    def done(self, step: int) -> None:
        """Called at the end of every step, watched or not."""

    @abstractmethod
    def forget(self) -> None:
        """Called after runs were reset to earlier states; drops values of the previous step."""

    @abstractmethod
    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
