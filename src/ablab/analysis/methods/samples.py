"""The samples of a probe on which losses are compared, and the losses of each. Axes: N, T, Q, V.

Q is the number of positions from the first predicted one on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.analysis.methods.losses import log_sum_exp
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import sample_labels
from ablab.tasks.probe import Probe


@dataclass(frozen=True)
class Samples:
    """Samples with at least one target each.

    Attributes:
        tokens: The input, (N, T).
        first: The first position at which any sample has a target.
        targets: The targets from that position on, (N, Q).
        weights: The weights of the samples, which sum to 1, (N,).
        train: Whether training can draw each sample, (N,); None if nothing is held out.
        labels: The label of each sample, (N,), by factor, -1 where the factor does not apply.
        names: The names of labels 0, 1, …, for factors that the task declares.
    """

    tokens: Int[Tensor, "N T"]
    first: int
    targets: Int[Tensor, "N Q"]
    weights: NDArray[np.float64]
    train: NDArray[np.bool_] | None
    labels: Mapping[str, NDArray[np.int64]]
    names: Mapping[str, tuple[str, ...]]

    @property
    def positions(self) -> list[int]:
        """The positions at which any sample has a target."""
        found = (self.targets != IGNORED).any(0).nonzero()[:, 0]
        return [self.first + int(each) for each in found]

    def losses(self, logits: Float[Tensor, "N Q V"]) -> Float[Tensor, "N"]:
        """The mean cross-entropy over the targets of each sample, in nats and in float64.

        Args:
            logits: The logits from position ``first`` on; further axes may be in front.
        """
        known = self.targets != IGNORED
        right = self.targets.clamp(min=0).expand(logits.shape[:-1])[..., None]
        values = logits.double()
        losses = log_sum_exp(values) - values.gather(-1, right)[..., 0]
        return torch.where(known, losses, 0.0).sum(-1) / known.sum(-1)

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        """Some of the samples, with their weights scaled to the sum 1."""
        weights = self.weights[rows]
        places = torch.from_numpy(rows)
        return Samples(
            self.tokens[places],
            self.first,
            self.targets[places],
            weights / weights.sum(),
            None if self.train is None else self.train[rows],
            {name: own[rows] for name, own in self.labels.items()},
            self.names,
        )


def samples_of(probe: Probe, most: int, seed: int) -> Samples:
    """At most ``most`` samples of a probe that have targets, drawn without replacement."""
    known = probe.mask
    rows = np.flatnonzero(known.any(-1))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    first = int(np.flatnonzero(known[rows].any(0))[0])
    every = Samples(
        torch.from_numpy(probe.tokens),
        first,
        torch.from_numpy(probe.targets[:, first:]),
        probe.weights,
        probe.train,
        {name: sample_labels(own) for name, own in probe.factors.items()},
        probe.names,
    )
    return every.take(rows)
