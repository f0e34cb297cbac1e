"""Contrasts: pairs of a clean and a corrupted sample that differ in a factor. Axes: N, B, K, T, P.

For each clean sample, the corrupted one is that of the similar samples
(:meth:`ablab.tasks.base.Task.similar`) in which the fewest other factors differ, and of these one
with the fewest other tokens. If the factor is a token of the input, such as an operand, samples
with other targets come first: a product with 0 stays 0, which shows nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.config import InputError, Problem, nearest
from ablab.tasks.base import Batch, Task, member
from ablab.tasks.probe import factor_labels, probe
from ablab.tasks.random import Stream, words

_DRAWN = 4  # clean samples to choose from, for each pair
_BLOCK = 64  # clean samples that are compared with similar ones at once, if they are short
_TOKENS = 2**17  # of such clean samples


@dataclass(frozen=True)
class Contrasts:
    """Pairs of a clean and a corrupted sample.

    Attributes:
        factor: The factor in which they differ.
        clean: The clean samples, with the leading axis N.
        corrupted: The corrupted samples, with the leading axis N. Targets are ``IGNORED`` if they
            are not known, as for a task of your own.
        clean_labels: The labels of the clean samples for that factor, (N,), or (N, T) for labels of
            input positions.
        corrupted_labels: Those of the corrupted samples.
        differs: Whether a factor differs, (N,), by its name.
    """

    factor: str
    clean: Batch
    corrupted: Batch
    clean_labels: NDArray[np.int64]
    corrupted_labels: NDArray[np.int64]
    differs: Mapping[str, NDArray[np.bool_]]

    @property
    def also_differ(self) -> tuple[str, ...]:
        """The other factors that differ in at least one pair."""
        return tuple(n for n, own in self.differs.items() if n != self.factor and own.any())


def contrasts(task: Task, factor: str, n: int, seed: int = 0) -> Contrasts:
    """Pairs of samples that differ in a factor and in as little else as possible.

    The clean samples are those of a probe that have a corrupted one with the fewest other
    differences. So they are not a random sample: for the first digit of an operand, for example,
    those in which it can change without a change of the carry.

    Args:
        task: The task.
        factor: The name of one of the probe's factors.
        n: The number of pairs.
        seed: The seed of all that is drawn.

    Returns:
        At most ``n`` pairs, each with a different clean sample.

    Raises:
        InputError: There is no such factor.
        ValueError: No two samples differ in it, the task has no contrasts for it, or ``n`` is not
            positive.
    """
    if n < 1:
        raise ValueError(f"n {n} is not positive")
    found = probe(task, samples=max(_DRAWN * n, _BLOCK), seed=seed)
    if factor not in found.factors:
        raise InputError(
            Problem(
                f"the task {task.config.kind} has no factor {factor!r}",
                given=factor,
                expected="one of " + ", ".join(found.factors),
                suggestion=nearest(factor, found.factors),
            )
        )
    clean = found.batch(task)
    labels = found.factors[factor]
    is_token = labels.ndim == 1 and bool((found.tokens == labels[:, None]).all(0).any())
    corrupted, costs = _corrupted(task, clean, factor, is_token, seed)
    chosen = np.argsort(costs + _ties(len(costs), seed), kind="stable")[:n]
    chosen = np.sort(chosen[np.isfinite(costs[chosen])])
    if not len(chosen):
        raise ValueError(
            f"no contrasts for {factor} of the task {task.config.kind}: no two of its similar "
            f"samples differ in it"
        )
    return _made(task, factor, _rows(clean, chosen), _rows(corrupted, chosen))


def _corrupted(
    task: Task, clean: Batch, factor: str, is_token: bool, seed: int
) -> tuple[Batch, NDArray[np.float64]]:
    """The best corrupted sample for each clean one, and its cost, (N,).

    The cost is the number of other factors that differ, more than that of all factors if a token
    of the input does not affect the targets, and infinite if the factor does not differ.
    """
    tokens, targets, costs = [], [], []
    block = min(_BLOCK, max(8, _TOKENS // clean.tokens.shape[-1]))
    for first in range(0, len(clean.tokens), block):
        own = _rows(clean, slice(first, first + block))
        near = member(task, "similar")(own, factor, seed + first)  # (B, K, …)
        shape = near.tokens.shape[:2]
        flat = Batch(
            near.tokens.reshape(-1, near.tokens.shape[-1]),
            near.targets.reshape(-1, near.targets.shape[-1]),
        )
        rows = np.repeat(np.arange(shape[0]), shape[1])
        before, after = factor_labels(task, own), factor_labels(task, flat)
        differs = {name: _rows_differ(before[name][rows], after[name]) for name in before}
        others = sum(each.astype(np.float64) for each in differs.values()) - 1
        others = np.where(differs[factor], others, np.inf).reshape(shape)
        if is_token:
            same = (near.targets == own.targets[:, None]).all(-1)
            others = others + len(differs) * same
        edits = (near.tokens != own.tokens[:, None]).mean(-1)
        cost = others + edits / 2 + _ties(edits.size, seed + first).reshape(shape)
        best = cost.argmin(-1)
        mine = np.arange(shape[0])
        tokens.append(near.tokens[mine, best])
        targets.append(near.targets[mine, best])
        costs.append(others[mine, best])
    return Batch(np.concatenate(tokens), np.concatenate(targets)), np.concatenate(costs)


def _made(task: Task, factor: str, clean: Batch, corrupted: Batch) -> Contrasts:
    before, after = factor_labels(task, clean), factor_labels(task, corrupted)
    differs = {name: _rows_differ(before[name], after[name]) for name in before}
    return Contrasts(factor, clean, corrupted, before[factor], after[factor], differs)


def _rows(batch: Batch, rows: slice | NDArray[np.int64]) -> Batch:
    return Batch(batch.tokens[rows], batch.targets[rows])


def _rows_differ(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the labels of each sample differ, at any position."""
    different: NDArray[np.bool_] = (before != after).reshape(len(before), -1).any(-1)
    return different


def _ties(count: int, seed: int) -> NDArray[np.float64]:
    """Random numbers from 0 to below 1e-6, which break ties."""
    drawn: NDArray[np.float64] = words(seed, Stream.PROBE, 1, 1, count)[0] / 2.0**64
    return drawn * 1e-6
