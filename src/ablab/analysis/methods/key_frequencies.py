"""The key frequencies of a model that adds in a cyclic group. Axes: S, n, F.

The logits l_i(c) of sample i, whose right answer is s_i, are compared with Σ_k α_k cos w_k (s_i -
c) (Nanda et al., "Progress measures for grokking via mechanistic interpretability", 2023). For any
sample, the waves of different frequencies are orthogonal as functions of the answer c, so that each
α_k is fitted by itself: α_k = Σ_i g_i Σ_c l_i(c) cos w_k (s_i - c) / h, with the weights g_i of the
samples and h = Σ_c cos² w_k (s - c), which is n / 2 (n for the frequency n / 2).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.analysis.methods.cyclic import CyclicSamples
from ablab.analysis.methods.fourier_basis import permutation_p
from ablab.config import InputError, Problem

PERMUTATIONS = 499
_TOGETHER = 50  # relabellings, to limit the memory

Values = NDArray[np.float64]


@dataclass(frozen=True)
class KeyFrequencies:
    """The frequencies in the logits. All arrays have the shape (F,).

    Attributes:
        frequencies: 1 … n // 2.
        is_key: Whether each is a key frequency.
        amplitudes: α_k, fitted to the choosing half of the samples.
        chosen_share: The share of the logits' variance that each explains in that half, negative if
            α_k is.
        p: The larger p-value of both tests, corrected for all frequencies that were left.
        judged_share: The share that each explains in the other half, with the same α_k.
        train_share: The share that each explains in training samples, with α_k fitted to them; None
            if it is not known which they are.
        explained: The share that all key frequencies explain in the other half; None without
            variance, or if logits are not finite.
        explained_permuted: The mean of that for relabelled answers, with as many frequencies, those
            that explain most in the choosing half.
    """

    frequencies: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    amplitudes: Values
    chosen_share: Values
    p: Values
    judged_share: Values
    train_share: Values | None
    explained: float | None
    explained_permuted: float | None

    @property
    def keys(self) -> tuple[int, ...] | None:
        """The key frequencies; None if logits are not finite."""
        if np.isnan(self.p).any():
            return None
        return tuple(int(k) for k in self.frequencies[self.is_key])


def find_key_frequencies(
    logits: Values,
    samples: CyclicSamples,
    *,
    level: float = 0.01,
    smallest_share: float = 0.005,
    seed: int = 0,
) -> KeyFrequencies:
    """Finds the key frequencies by permutation tests, the largest share first.

    The frequency with the largest share (of those with a positive α_k) is a key frequency if its
    share is at least ``smallest_share``, and larger than that of any frequency in all but a share
    ``level`` of random relabellings of the answers: the maximum over the frequencies corrects for
    their number (Westfall and Young, "Resampling-based multiple testing", 1993). The answers c of
    the logits are relabelled, and in a second test the right answers s: logits that are waves of c
    but follow s in no order would pass the first one, and waves of s that no order of c follows the
    second, so both are needed. Then its wave is subtracted from the logits, so that it does not
    hide smaller ones, and the rest is tested in the same way, until a test fails. Without
    ``smallest_share``, every trace of a frequency that is no accident would be one.

    The samples that are used are one of :meth:`CyclicSamples.halves`, so held-out ones where there
    are any.

    Args:
        logits: (S, V) at the position of the answer.
        samples: The samples.
        level: The probability of a key frequency in a model without any.
        smallest_share: The smallest share of the variance of the logits.
        seed: The seed of the halves and the relabellings.
    """
    centred = element_logits(logits, samples)
    n = samples.order
    choose, judge = (FrequencyFit(centred, samples, own) for own in samples.halves(seed))
    alphas = choose.amplitudes()
    rng = np.random.default_rng((seed, 2))
    orders = np.stack([rng.permutation(n) for _ in range(PERMUTATIONS)])
    is_key, p = _tested(choose, orders, level, smallest_share)
    judged = judge.explained(alphas, judge.amplitudes())
    is_known = judge.total > 0 and np.isfinite([choose.total, judge.total]).all()
    train = samples.parts.get("train")
    fitted = None if train is None else FrequencyFit(centred, samples, train)
    return KeyFrequencies(
        frequencies=np.arange(1, n // 2 + 1),
        is_key=is_key,
        amplitudes=alphas,
        chosen_share=choose.shares(alphas),
        p=p,
        judged_share=judged,
        train_share=None if fitted is None else fitted.shares(fitted.amplitudes()),
        explained=float(judged[is_key].sum()) if is_known else None,
        explained_permuted=_explained_permuted(choose, judge, orders, int(is_key.sum()))
        if is_known
        else None,
    )


def _tested(
    choose: "FrequencyFit", orders: NDArray[np.int64], level: float, smallest_share: float
) -> tuple[NDArray[np.bool_], Values]:
    """Which frequencies are keys, and the p-value of each in the last test that it was in."""
    shares = choose.shares(choose.amplitudes())
    is_key, p, rest = np.zeros(len(shares), dtype=bool), np.zeros(len(shares)), choose
    if not np.isfinite(shares).all():  # of logits that are not finite
        return is_key, np.full(len(shares), np.nan)
    while not is_key.all():
        left = np.flatnonzero(~is_key)
        own = np.maximum(
            *(
                permutation_p(shares[left], each.largest_relabelled(orders, left)[:, None])
                for each in (rest, rest.transposed())
            )
        )
        p[left] = np.maximum(own, p[is_key].max(initial=0))
        best = left[shares[left].argmax()]
        if p[best] > level or shares[best] < smallest_share:
            break
        is_key[best] = True
        rest = rest.without(best)
    return is_key, p


def _explained_permuted(
    choose: "FrequencyFit", judge: "FrequencyFit", orders: NDArray[np.int64], count: int
) -> float:
    """The mean share that the best frequencies explain if answers are relabelled."""
    alphas = choose.relabelled_amplitudes(orders)
    most = np.argsort(-choose.shares(alphas), axis=-1)[:, :count]
    explained = judge.explained(alphas, judge.relabelled_amplitudes(orders))
    return float(np.take_along_axis(explained, most, axis=-1).sum(-1).mean())


def element_logits(logits: Values, samples: CyclicSamples) -> Values:
    """The logits of the elements, by number, minus each sample's mean over them, (S, n)."""
    own = logits[:, samples.group.elements]
    centred: Values = own - own.mean(-1, keepdims=True)
    return centred


def squared_length(n: int) -> Values:
    """Σ_c cos² w_k (s - c) for each frequency, (F,)."""
    found = np.full(n // 2, n / 2)
    if n % 2 == 0:
        found[-1] = n
    return found


def checked_frequencies(frequencies: Sequence[int], n: int) -> tuple[int, ...]:
    """Given frequencies, sorted.

    Raises:
        InputError: One is not from 1 to n // 2.
    """
    for each in frequencies:
        if not 1 <= each <= n // 2:
            raise InputError(
                Problem(
                    f"the group of order {n} does not have this frequency",
                    "frequencies",
                    given=each,
                    expected=f"1 to {n // 2}",
                )
            )
    return tuple(sorted(set(frequencies)))


class FrequencyFit:
    """Fits α_k to some of the samples. They enter only by their weighted sums for each answer.

    Args:
        centred: The logits of :func:`element_logits`, (S, n).
        samples: The samples.
        own: Which of them, (S,).
    """

    def __init__(self, centred: Values, samples: CyclicSamples, own: NDArray[np.bool_]) -> None:
        n = samples.order
        weights = samples.weights[own] / samples.weights[own].sum()
        self._weights = np.bincount(samples.sums[own], weights, n)  # by the right answer
        self._sums = np.zeros((n, n))  # the same, then by the answer of the logit
        np.add.at(self._sums, samples.sums[own], weights[:, None] * centred[own])
        self.total = float(weights @ np.square(centred[own]).sum(-1))
        angles = 2 * np.pi * np.outer(np.arange(n), np.arange(1, n // 2 + 1)) / n  # (n, F)
        self._cos, self._sin = np.cos(angles), np.sin(angles)
        self._length = squared_length(n)

    def amplitudes(self) -> Values:
        """α_k, (F,)."""
        found: Values = self.relabelled_amplitudes(np.arange(len(self._sums))[None])[0]
        return found

    def relabelled_amplitudes(self, orders: NDArray[np.int64]) -> Values:
        """α_k with answers relabelled by each of some orders (P, n), (P, F)."""
        n, found = len(self._sums), []
        for some in np.array_split(orders, -(-len(orders) // _TOGETHER)):
            waves = np.concatenate([self._cos, self._sin], axis=-1)[np.argsort(some, axis=-1)]
            along = (self._sums.T @ self._cos, self._sums.T @ self._sin)  # (n, F) by the answer
            both = np.concatenate(along, axis=-1)
            found.append((waves * both).reshape(len(some), n, 2, -1).sum((1, 2)))
        amplitudes: Values = np.concatenate(found) / self._length
        return amplitudes

    def largest_relabelled(self, orders: NDArray[np.int64], left: NDArray[np.int64]) -> Values:
        """The largest share of some frequencies, with answers relabelled by each order, (P,)."""
        largest: Values = self.shares(self.relabelled_amplitudes(orders))[:, left].max(-1)
        return largest

    def transposed(self) -> "FrequencyFit":
        """The same with right answers and those of the logits exchanged; α_k are the same."""
        other = copy(self)
        other._sums = self._sums.T
        return other

    def without(self, place: int) -> "FrequencyFit":
        """The same without the wave of a frequency; the total variance stays that of all."""
        wave = self._cos[:, None, place] * self._cos[None, :, place]
        wave = wave + self._sin[:, None, place] * self._sin[None, :, place]  # cos w (s - c)
        rest = copy(self)
        rest._sums = self._sums - self.amplitudes()[place] * self._weights[:, None] * wave
        return rest

    def shares(self, alphas: Values) -> Values:
        """The share of the variance that waves with these α_k explain; signed, (…, F)."""
        found: Values = np.sign(alphas) * self.explained(alphas, alphas)
        return found

    def explained(self, alphas: Values, fitted: Values) -> Values:
        """1 - residual / variance for given α_k, where ``fitted`` are the best ones, (…, F)."""
        if not self.total:
            return np.zeros(alphas.shape)
        found: Values = self._length * (2 * alphas * fitted - alphas**2) / self.total
        return found
