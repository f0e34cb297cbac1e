"""The noise of a generated curve: multiplicative, log-normal, with a mean of one."""

from dataclasses import dataclass

import numpy as np

NOISES = (0.002, 0.01, 0.03, 0.08, 0.2)


@dataclass(frozen=True)
class Noise:
    """`relative`: standard deviation of a step; `deep`: how many times larger it is below 1e-6.

    Between 1e-3 and 1e-6 it grows with the log of the loss. Neighbouring logged steps have the
    correlation `memory` (an AR(1) process).
    """

    relative: float
    deep: float = 1.0
    memory: float = 0.0

    def deviation(self, y: np.ndarray | float) -> np.ndarray:
        """Standard deviation of the log of the loss where the log is `y`."""
        depth = np.clip((np.log(1e-3) - y) / np.log(1e3), 0, 1)
        return np.sqrt(np.log1p((self.relative * (1 + (self.deep - 1) * depth)) ** 2))

    def draw(self, rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        """What noise adds to the log of the loss, `y` being the log without noise."""
        z = rng.standard_normal(len(y))
        fresh = np.sqrt(1 - self.memory**2)
        for i in range(1, len(z) if self.memory else 0):
            z[i] = self.memory * z[i - 1] + fresh * z[i]
        deviation = self.deviation(y)
        return deviation * z - deviation**2 / 2
