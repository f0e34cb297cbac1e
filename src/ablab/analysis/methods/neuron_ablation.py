"""Ablation of single neurons of the last MLP and of growing sets of them. Axes: S samples, M."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from ablab.analysis.methods.cyclic import CyclicSamples
from ablab.analysis.methods.last_mlp import LastMlp
from ablab.analysis.methods.losses import cross_entropies, weighted_mean
from ablab.analysis.methods.read_out import ReadOut, written
from ablab.analysis.methods.removal import Removal
from ablab.analysis.methods.resampling import corrected_array
from ablab.analysis.methods.samples import Samples
from ablab.analysis.replacement import Replacement
from ablab.analysis.subject import Subject

_DENSE = 16  # neurons up to which each number of ablated neurons is a point of the curve
_LEVEL = 0.05
_LARGE = 2**25  # samples x tokens x neurons
_GROWTH = 1.12  # of the number of neurons from point to point after that

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ablations:
    """What mean ablation of each neuron does to the loss.

    Attributes:
        changes: The change of the loss of each sample, in nats, (S, M).
        change: The mean over all samples, (M,).
        error: Its standard error over samples, (M,).
        p: The p-value of a change above zero, one-sided, (M,); NaN if the change is not finite.
        p_corrected: The same after Benjamini and Hochberg (1995), over the neurons, (M,).
    """

    changes: Values
    change: Values
    error: Values
    p: Values
    p_corrected: Values


@dataclass(frozen=True)
class Curve:
    """The loss as more and more neurons are ablated, those that matter most first.

    Attributes:
        neurons: The numbers of neurons, from 0 to M.
        removed: The loss with that many ablated.
        retained: The loss with all others ablated.
        random: The loss with as many ablated in a random order.
        p: The p-value of a rise of the loss by ablating all, one-sided.
    """

    neurons: NDArray[np.int64]
    removed: Values
    retained: Values
    random: Values
    p: float

    def fewest_removed(self, share: float) -> float | None:
        """The number of neurons from which on ablation makes a share of the change by ablating all.

        None if ablating all does not raise the loss (p > 0.05).
        """
        change = self.removed - self.removed[0]
        return self._first(change >= share * change[-1]) if self.p <= _LEVEL else None

    def fewest_retained(self, share: float) -> float | None:
        """The number of retained neurons from which on they undo a share of the change.

        None if ablating all does not raise the loss (p > 0.05).
        """
        undone = self.retained[0] - self.retained
        return self._first(undone >= share * undone[-1]) if self.p <= _LEVEL else None

    def _first(self, reached: NDArray[np.bool_]) -> float:
        """The number of neurons from which on all points are reached; the last one always is."""
        missed = np.flatnonzero(~reached)
        return float(self.neurons[missed[-1] + 1 if len(missed) else 0])


def ablate_each(
    subject: Subject, samples: CyclicSamples, mlp: LastMlp, readable: ReadOut | None
) -> Ablations:
    """Replaces each neuron at the position of the answer by its mean over the samples.

    With a read-out, this is a change of rank one of the logits before the last norm; otherwise a
    pass of the model for each neuron.
    """
    if readable is None:
        changes, rounding = _by_passes(subject, samples, mlp)
    else:
        changes, rounding = _by_rank_one(samples, readable), _rounding(readable.logits())
    return _with_tests(changes, samples.weights, rounding)


def losses_without_neurons(
    mlp: LastMlp, removal: Removal, samples: Samples, neurons: NDArray[np.int64]
) -> Values:
    """The losses with single neurons replaced at all positions, (S, neurons).

    Args:
        mlp: The MLP of the last block, whose neurons write linearly: no further pass is needed.
        removal: By what neurons are replaced.
        samples: Its samples.
        neurons: The numbers of the neurons.
    """
    count = samples.targets.shape[1]
    tensors = [each[:, -count:].flatten(0, 1) for each in removal.read(*mlp.sites)]
    whole = written(mlp, tensors)
    assert whole is not None, "its neurons write linearly"
    (hidden,) = removal.read(mlp.post)
    change = (removal.new_values(hidden) - hidden)[:, -count:].flatten(0, 1).double()
    logits = whole.read_out or whole
    found = [
        samples.losses(logits.with_change(int(j), change[:, j]).view(*samples.targets.shape, -1))
        for j in neurons
    ]
    return torch.stack(found, -1).numpy()


def in_enough_precision(readable: ReadOut) -> ReadOut:
    """A read-out in single precision if it is large; small losses keep their relative precision."""
    size = len(readable.products) * len(readable.logit_map) * readable.neurons.shape[1]
    return readable if size < _LARGE else readable.to(torch.float32)


def _deviations(samples: CyclicSamples, readable: ReadOut) -> torch.Tensor:
    """What replaces each activation by its mean when it is added, (S, M)."""
    weights = torch.from_numpy(samples.weights).to(readable.neurons)
    return weights @ readable.neurons - readable.neurons


def _by_rank_one(samples: CyclicSamples, readable: ReadOut) -> Values:
    targets = torch.from_numpy(samples.targets)
    deviations = _deviations(samples, readable)
    base = cross_entropies(readable.logits(), targets)
    changes = torch.empty_like(deviations)
    for neuron in range(deviations.shape[1]):
        change = deviations[:, neuron]
        if bool(change.any()):
            changes[:, neuron] = (
                cross_entropies(readable.with_change(neuron, change), targets) - base
            )
        else:
            changes[:, neuron] = 0
    return changes.double().numpy()


def _by_passes(subject: Subject, samples: CyclicSamples, mlp: LastMlp) -> tuple[Values, float]:
    """The changes, and a bound of those that rounding makes."""
    tokens, targets = torch.from_numpy(subject.probe.tokens), torch.from_numpy(samples.targets)
    position = samples.group.answer_position

    neurons = range(mlp.mlp.linear.out_features)
    every = np.zeros(len(tokens))
    every[samples.rows] = samples.weights
    weights = tuple(every.tolist())
    sets: list[list[Replacement]] = [
        [],
        *(
            [Replacement(mlp.post, "mean", ((1, position), (2, neuron)), weights=weights)]
            for neuron in neurons
        ),
    ]
    losses, rounding = [], 0.0
    for found in subject.forward_each(tokens, sets):
        rounding = rounding or _rounding(found.logits)
        logits = torch.from_numpy(samples.at_answer(found.logits))
        losses.append(cross_entropies(logits, targets).numpy())
    return np.stack([each - losses[0] for each in losses[1:]], axis=-1), rounding


def _rounding(logits: torch.Tensor) -> float:
    """A bound of the changes of losses that rounding makes: 8 units in the last place of logits."""
    return 8 * torch.finfo(logits.dtype).eps * float(logits.abs().max())


def _with_tests(changes: Values, weights: Values, rounding: float) -> Ablations:
    change = weights @ changes
    error = np.sqrt(np.square(weights) @ np.square(changes - change))
    known = error > 0
    p = np.where(known, norm.sf(change / np.where(known, error, 1)), np.where(change > 0, 0.0, 1.0))
    p = np.where(np.abs(change) <= rounding, 1.0, p)
    p = np.where(np.isfinite(change), p, np.nan)
    return Ablations(changes, change, error, p, corrected_array(p))


def curve(samples: CyclicSamples, readable: ReadOut, changes: Values, seed: int) -> Curve:
    """Ablates growing sets of neurons on one half of the samples.

    The neurons are sorted by the mean change of their single ablations on the other half.

    Args:
        samples: The samples.
        readable: The logits as a function of the neurons.
        changes: Those of :class:`Ablations`, (S, M).
        seed: The seed of the halves, and of the random order.
    """
    rng = np.random.default_rng((seed, 4))
    chosen = rng.permutation(len(samples.rows)) < len(samples.rows) // 2
    order = np.argsort(-(samples.weights[chosen] @ changes[chosen]), kind="stable")
    sets = AblatedSets(samples, readable, ~chosen)
    counts = _counts(len(order))
    removed, retained = sets.losses(order, counts)
    random, _ = sets.losses(rng.permutation(order), counts)
    return Curve(counts, removed, retained, random, sets.rise(order).p.item())


class AblatedSets:
    """The loss with sets of neurons replaced by their means.

    Args:
        samples: The samples, over which means are taken.
        readable: The logits as a function of the neurons.
        own: The samples whose loss is computed, (S,).
    """

    def __init__(self, samples: CyclicSamples, readable: ReadOut, own: NDArray[np.bool_]) -> None:
        self._readable = readable.chosen(own)
        self._deviations = _deviations(samples, readable)[torch.from_numpy(own)]
        self._targets = torch.from_numpy(samples.targets[own])
        self._weights = samples.weights[own]

    def loss(self, neurons: NDArray[np.int64]) -> float:
        """The loss with these neurons ablated."""
        return self._loss(*self._added(neurons))

    def rise(self, neurons: NDArray[np.int64]) -> Ablations:
        """What ablating these neurons together does, as if they were one."""
        nothing = self._added(neurons[:0])
        changes = self._losses(*self._added(neurons)) - self._losses(*nothing)
        weights = self._weights / self._weights.sum()
        return _with_tests(changes[:, None], weights, _rounding(self._readable.logits()))

    def losses(self, order: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[Values, Values]:
        """The losses with the first neurons of an order ablated, and with all but these.

        Args:
            order: The neurons, (M,).
            counts: How many of them, ascending, the first 0.
        """
        every = self._added(order)
        products, stream = (torch.zeros_like(each) for each in every)
        removed, retained = [], []
        for start, stop in pairwise([0, *counts]):
            added = self._added(order[start:stop])
            products, stream = products + added[0], stream + added[1]
            removed.append(self._loss(products, stream))
            retained.append(self._loss(every[0] - products, every[1] - stream))
        return np.array(removed), np.array(retained)

    def _added(self, neurons: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """What ablating neurons adds to the products and to the residual stream."""
        own = torch.from_numpy(neurons)
        deviations = self._deviations[:, own]
        products = deviations @ self._readable.logit_map[:, own].T
        if self._readable.norm is None:  # the stream itself does not matter
            return products, products[:, :0]
        return products, deviations @ self._readable.output[:, own].T

    def _loss(self, products: torch.Tensor, stream: torch.Tensor) -> float:
        losses = self._losses(products, stream)
        return weighted_mean(losses, self._weights, np.ones(len(losses), dtype=bool))

    def _losses(self, products: torch.Tensor, stream: torch.Tensor) -> Values:
        """The loss of each sample, (S,)."""
        logits = self._readable.with_added(products, stream)
        losses: Values = cross_entropies(logits, self._targets).double().numpy()
        return losses


def _counts(total: int) -> NDArray[np.int64]:
    """0 … 16, then 12% more from point to point, to all."""
    counts = list(range(min(total, _DENSE) + 1))
    while counts[-1] < total:
        counts.append(min(total, max(counts[-1] + 1, round(counts[-1] * _GROWTH))))
    return np.array(counts)
