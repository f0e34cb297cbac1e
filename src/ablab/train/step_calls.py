"""What a training step calls: gradients, then an update; replayed as CUDA graphs where they can."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ablab.train.cuda_graphs import RECORDERS, USUAL_CALLS, GraphedGradients
from ablab.train.gradients import Gradients
from ablab.train.optimizer import Optimizer, OptimizerState
from ablab.train.parameter_update import ReplayedUpdate, Update
from ablab.train.stored_programs import are_shipped

STEPS_UNTIL_REPLAYED = 8  # both calls are usual ones a few times, recorded, and compared


@dataclass(frozen=True)
class StepCalls:
    """The calls of a step.

    Attributes:
        gradients: Computes the gradients of the stack's parameters.
        update: Clips them and updates the parameters.
    """

    gradients: Gradients
    update: Update | ReplayedUpdate

    @classmethod
    def make(
        cls,
        gradients: Gradients,
        optimizer: Optimizer[Any],
        theta: Tensor,
        optimizer_state: OptimizerState,
        clips: bool,
        decays: Tensor | None,
        only_computes: bool,
        usual_calls: int = USUAL_CALLS,
    ) -> "StepCalls":
        """The calls for some parameters, which are updated in place.

        Args:
            gradients: Computes gradients of any parameters.
            optimizer: The optimizer.
            theta: Parameters, (R, P).
            optimizer_state: The optimizer's state.
            clips: Whether gradients are clipped.
            decays: One for parameters that decay, zero for others, (P,); None if all decay.
            only_computes: Whether the Python code of a pass does nothing but compute. A replay runs
                none of it, and a user's model may count its passes, say.
            usual_calls: Calls before one is recorded.
        """
        usual = Update(optimizer, theta, optimizer_state, clips, decays)
        record = RECORDERS.get(theta.device.type)
        if record is None:
            return cls(gradients, usual)
        passes = None
        if only_computes:
            gradients = GraphedGradients(gradients, theta, record, usual_calls)
            passes = gradients.replayed
        if not optimizer.stackable or not are_shipped(type(optimizer)):
            return cls(gradients, usual)
        state = [theta, *optimizer_state.values()]
        update = ReplayedUpdate(usual, optimizer, state, record, passes, usual_calls)
        return cls(gradients, update)

    def release(self) -> None:
        """Gives back the memory of graphs; calls are usual ones from now on."""
        for each in self._replayed:
            each.replayed.release()

    @property
    def failures(self) -> list[str]:
        """Why calls are not replayed, although they might be."""
        found = [each.replayed.failed for each in self._replayed]
        return [reason for reason in found if reason is not None]

    @property
    def replays(self) -> bool:
        """Whether all that might be replayed is replayed."""
        return bool(self._replayed) and all(each.replayed.replays for each in self._replayed)

    @property
    def _replayed(self) -> list[GraphedGradients | ReplayedUpdate]:
        both = (self.gradients, self.update)
        return [each for each in both if isinstance(each, GraphedGradients | ReplayedUpdate)]
