"""Stop rules: when a run ends before its steps."""

import math

from ablab.train.config import StopConfig


class StopRule:
    """Looks at one run's measure, one value after another, and says when to stop.

    Its state is a function of the values seen, so a resumed run is given its stored values again.
    """

    def __init__(self, config: StopConfig) -> None:
        self.config = config
        self._best = math.inf
        self._without = 0

    def look(self, value: float) -> bool:
        """Takes the next value of the measure; whether the run should stop now."""
        if value < self._best - self.config.min_delta:
            self._best = value
            self._without = 0
        else:
            self._without += 1
        below, patience = self.config.below, self.config.patience
        return (below is not None and value < below) or (
            patience is not None and self._without >= patience
        )
