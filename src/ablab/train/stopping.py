"""Stop rules: end a run before its last step."""

import math

from ablab.train.config import StopConfig


class StopRule:
    """Decides from the values of one run's measure when to stop it.

    Its state is a function of these values. When a run is resumed, the stored values are passed in
    again.
    """

    def __init__(self, config: StopConfig) -> None:
        self.config = config
        self._best = math.inf
        self._without = 0

    def update(self, value: float) -> bool:
        """Adds the next value of the measure; returns whether the run should stop."""
        if value < self._best - self.config.min_delta:
            self._best = value
            self._without = 0
        else:
            self._without += 1
        below, patience = self.config.below, self.config.patience
        return (below is not None and value < below) or (
            patience is not None and self._without >= patience
        )
