"""Probes: the samples on which a model is looked at, with labels of each. Axes: N, T, P.

A probe has all samples of a task if there are few, else a stratified sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.base import Batch, Table, Task, member
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import at_positions
from ablab.tasks.random import Stream, permuted
from ablab.tasks.split import distinct_and_counts

MAX_SAMPLES = 20_000
MAX_TOKENS = 2**20  # of a probe; longer samples are fewer
_MAX_ENUMERATED = 2**17  # samples of a table that is listed to choose from it
_DRAWN = 4  # samples drawn for each one of a stratified probe

Part = Literal["all", "train", "held_out"]


@dataclass(frozen=True)
class Probe:
    """Samples of a task and their labels.

    Attributes:
        tokens: The input, (N, T).
        targets: The token predicted at each input position, (N, T); ``IGNORED`` (-100) where none
            is predicted.
        factors: The labels by the name of the factor: integers of shape (N,), or (N, T) for labels
            of input positions; ``DOES_NOT_APPLY`` (-1) leaves a sample or position out.
        names: The names of labels 0, 1, …, by the name of the factor, for factors that the task's
            configuration declares. Labels of other factors are numbers, positions or tokens.
        train: Whether training can draw each sample, (N,); None if the task holds nothing out, or
            if that is not known.
        weights: The share of the task's samples that each sample stands for, (N,). They sum to 1,
            and are equal unless strata have different shares.
        whole: Whether these are all samples (of the part that was asked for).
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    factors: Mapping[str, NDArray[np.int64]]
    names: Mapping[str, tuple[str, ...]]
    train: NDArray[np.bool_] | None
    weights: NDArray[np.float64]
    whole: bool

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Whether something is predicted at each input position, (N, T)."""
        known: NDArray[np.bool_] = self.targets != IGNORED
        return known

    def batch(self, task: Task) -> Batch:
        """The samples as the task's batch, with targets of the P predicted positions only."""
        return Batch(self.tokens, self.targets[:, task.predicted])


def probe(task: Task, *, samples: int | None = None, seed: int = 0, split: Part = "all") -> Probe:
    """The samples of a task on which to look at models.

    If the task has at most ``samples`` samples, these are all of them. Otherwise they are drawn
    as in training and from the held-out samples, in their proportion, and a part is chosen in which
    the labels of the task's strata are as equally frequent as possible; ``weights`` undo that. The
    probe depends on the seed alone. It may contain samples that runs have been trained or
    evaluated on.

    Args:
        task: The task.
        samples: The maximum number of samples; by default 20,000, or as many as have 2**20 tokens.
        seed: The seed of a sample.
        split: ``train`` for samples that training can draw, ``held_out`` for those that it cannot,
            or ``all``. If it is not known what a task holds out, ``train`` is drawn as in training
            and ``held_out`` as for evaluation.

    Returns:
        The samples, in the order of the table if they are all.

    Raises:
        ValueError: ``held_out`` is asked for, but the task holds nothing out; or ``samples`` is
            not positive.
    """
    most = MAX_TOKENS // task.config.input_length
    limit = max(1, min(MAX_SAMPLES, most)) if samples is None else samples
    if limit < 1:
        raise ValueError(f"samples {samples} is not positive")
    if split == "held_out" and member(task, "held_out_share") == 0:
        raise ValueError(
            f"the task {task.config.kind} holds no samples out, so there is no probe of held-out "
            f"samples; set task.held_out if it has that setting, or use split all"
        )
    size = member(task, "table_size")
    if size is not None and size <= max(_MAX_ENUMERATED, limit):
        table = task.table()
        if table.train is not None and split != "all":
            table = _rows(table, np.flatnonzero(table.train == (split == "train")))
        if len(table.batch.tokens) <= limit:
            count = len(table.batch.tokens)
            return _made(task, table, np.full(count, 1 / count), whole=True)
        shares = np.ones(len(table.batch.tokens))
    else:
        table, shares = _drawn(task, limit, seed, split)
    chosen, weights = _stratified(_strata(task, table.batch), shares, limit, seed)
    return _made(task, _rows(table, chosen), weights, whole=False)


def factor_labels(task: Task, batch: Batch) -> dict[str, NDArray[np.int64]]:
    """All labels of samples, those for evaluation and those for probes, by the name of the factor.

    Args:
        task: The task.
        batch: Samples, with the leading axis N.

    Returns:
        Integers of shape (N,), or (N, T) for labels of input positions.
    """
    found = {
        name: own.astype(np.int64)
        if own.ndim == 1
        else at_positions(own, batch.tokens, task.predicted)
        for name, own in task.factors(batch).items()
    }
    further: dict[str, NDArray[np.int64]] = member(task, "probe_factors")(batch)
    return found | further


def _made(task: Task, table: Table, weights: NDArray[np.float64], whole: bool) -> Probe:
    batch = table.batch
    targets = np.full(batch.tokens.shape, IGNORED)
    targets[:, task.predicted] = batch.targets
    labels = factor_labels(task, batch)
    return Probe(batch.tokens, targets, labels, task.config.factors, table.train, weights, whole)


def _rows(table: Table, rows: NDArray[np.int64]) -> Table:
    """Some samples of a table."""
    batch = Batch(table.batch.tokens[rows], table.batch.targets[rows])
    return Table(batch, None if table.train is None else table.train[rows])


def _drawn(task: Task, limit: int, seed: int, split: Part) -> tuple[Table, NDArray[np.float64]]:
    """Samples drawn as in training, and held-out ones, in their proportion.

    Returns:
        The distinct samples, and how often each was drawn.
    """
    count = limit if member(task, "strata") == () else _DRAWN * limit
    natural = member(task, "held_out_share")
    splits = bool(natural)  # neither 0 nor unknown
    share = {"all": 0.5 if natural is None else natural, "train": 0.0, "held_out": 1.0}[split]
    held_out = round(share * count)
    parts = []
    if held_out < count:
        drawn = task.draw(seed, 1, 1, count - held_out)
        parts.append((drawn.tokens[0], drawn.targets[0], True))
    if held_out:
        evaluated = task.held_out(held_out)
        parts.append((evaluated.tokens, evaluated.targets, False))
    rows = np.concatenate(
        [
            np.concatenate([tokens, targets, np.full((len(tokens), 1), train and splits)], axis=-1)
            for tokens, targets, train in parts
        ]
    )
    rows, counts = distinct_and_counts(rows)
    length = parts[0][0].shape[-1]
    batch = Batch(rows[:, :length], rows[:, length:-1])
    return Table(batch, rows[:, -1] == 1 if splits else None), counts.astype(np.float64)


def _strata(task: Task, batch: Batch) -> NDArray[np.int64]:
    """The number of the stratum of each sample, (N,)."""
    names = member(task, "strata")
    if names == ():
        return np.zeros(len(batch.tokens), dtype=np.int64)
    labels = factor_labels(task, batch)
    if names is None:
        declared = task.config.factors
        names = tuple(name for name in declared if name in labels and labels[name].ndim == 1)
    if not names:
        return np.zeros(len(batch.tokens), dtype=np.int64)
    together = np.stack([labels[name] for name in names], axis=-1)
    inverse: NDArray[np.int64] = np.unique(together, axis=0, return_inverse=True)[1].ravel()
    return inverse


def _stratified(
    strata: NDArray[np.int64], shares: NDArray[np.float64], limit: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """At most ``limit`` samples, as equally many of each stratum as possible, and their weights."""
    counts = np.bincount(strata)
    quotas, left = np.zeros_like(counts), min(limit, len(strata))
    for place, stratum in enumerate(np.argsort(counts, kind="stable")):
        quotas[stratum] = min(counts[stratum], left // (len(counts) - place))
        left -= quotas[stratum]
    numbers = np.arange(len(strata))
    shuffled = permuted(seed, np.zeros_like(numbers), numbers, len(numbers), Stream.PROBE)
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]  # by stratum
    ranks = numbers - (np.cumsum(counts) - counts)[strata[order]]
    chosen = np.sort(order[ranks < quotas[strata[order]]])
    weights = (np.bincount(strata, shares) / np.maximum(quotas, 1))[strata[chosen]]
    return chosen, weights / weights.sum()
