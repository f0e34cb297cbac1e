"""Samples whose answer is a sum in a cyclic group, for Fourier analyses. Axes: S, n, V.

S samples, n elements of the group, V tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ablab.analysis.passes import Pass
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.config import InputError, Problem
from ablab.model.transformer import Transformer
from ablab.tasks.base import member
from ablab.tasks.groups import CyclicGroup, NoCyclicGroupError

SMALLEST_ORDER = 5  # two frequencies, and enough pairs to fit nine terms

T = TypeVar("T")
Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class CyclicSamples:
    """The samples of a probe whose operands and answer are elements of a cyclic group.

    Attributes:
        answer: The name of the answer.
        group: The group.
        rows: The places of the samples in the probe, (S,).
        operands: The numbers of the two operands' elements, (S, 2).
        sums: The number of the right answer's element, (S,): the sum of the operands, each with its
            coefficient, and the carry if there is one.
        weights: The share of the task's samples that each stands for, (S,); they sum to 1.
        train: Whether training can draw each sample, (S,); None if that is not known.
        place: The position at which the answer is predicted, counted from the end of the input: -1
            is the last one.
    """

    answer: str
    group: CyclicGroup
    rows: Numbers
    operands: Numbers
    sums: Numbers
    weights: Values
    train: NDArray[np.bool_] | None
    place: int

    @property
    def order(self) -> int:
        """The number of elements (n)."""
        return self.group.order

    @property
    def targets(self) -> Numbers:
        """The token of the right answer, (S,)."""
        tokens: Numbers = self.group.elements[self.sums]
        return tokens

    @property
    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """The samples ``train`` and ``held_out``, (S,) each; ``all`` if the split is not known."""
        if self.train is None or self.train.all() or not self.train.any():
            return {"all": np.ones(len(self.rows), dtype=bool)}
        return {"train": self.train, "held_out": ~self.train}

    def at_answer(self, tensor: torch.Tensor) -> Values:
        """The values of a site where the answer is predicted, (S, …).

        Args:
            tensor: (N, Q, …), at all positions or at the last ones.
        """
        rows = torch.from_numpy(self.rows)
        found: Values = tensor[rows, self.place].to("cpu", torch.float64).numpy()
        return found

    def cell_means(self, values: Values) -> Values:
        """The weighted mean over the samples of each pair of operands.

        Args:
            values: (S, M).

        Returns:
            (n, n, M), by the first operand, then the second.

        Raises:
            DoesNotApplyError: A pair of elements is not among the samples.
        """
        n = self.order
        cells = self.operands[:, 0] * n + self.operands[:, 1]
        if len(np.unique(cells)) < n * n:
            raise DoesNotApplyError(
                f"the probe lacks some of the {n * n} pairs of operands; it needs more samples"
            )
        if len(cells) == n * n:
            found = np.empty_like(values)
            found[cells] = values
            return found.reshape(n, n, -1)
        totals = np.zeros((n * n, values.shape[1]))
        np.add.at(totals, cells, self.weights[:, None] * values)
        weights = np.bincount(cells, self.weights, n * n)
        return (totals / weights[:, None]).reshape(n, n, -1)

    def halves(self, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Two random halves of the held-out samples, or of all if the split is not known.

        What is chosen on one half is judged on the other. A model that memorizes its training
        samples has the same structure in both halves of those, so they are left out.

        Args:
            seed: The seed.

        Returns:
            Masks of shape (S,).
        """
        own = self.parts.get("held_out", np.ones(len(self.rows), dtype=bool))
        places = np.random.default_rng((seed, 0)).permutation(np.flatnonzero(own))
        first, second = np.zeros_like(own), np.zeros_like(own)
        first[places[: len(places) // 2]] = True
        second[places[len(places) // 2 :]] = True
        return first, second


def cyclic_samples(subject: Subject, answer: str | None = None) -> list[CyclicSamples]:
    """The samples of each cyclic group in which the subject's task adds two operands.

    Args:
        subject: The subject.
        answer: The name of one answer; None for all.

    Raises:
        DoesNotApplyError: The model is not a transformer, or there is no such group.
        InputError: The task is not known, or it has no such answer.
    """
    if not isinstance(subject.model, Transformer):
        raise DoesNotApplyError(f"a {type(subject.model).__name__} is not a transformer of ablab")
    try:
        groups = member(subject.task, "cyclic_groups")()
    except NoCyclicGroupError as error:
        raise DoesNotApplyError(str(error)) from error
    if answer is not None and answer not in groups:
        known = ", ".join(groups)
        raise InputError(
            Problem("the task has no such answer", "answer", given=answer, expected=known)
        )
    chosen = {name: each for name, each in groups.items() if answer in (None, name)}
    large = {
        name: each
        for name, each in chosen.items()
        if each.order >= SMALLEST_ORDER and len(each.operand_positions) == 2
    }
    if not large:
        raise DoesNotApplyError(
            f"it needs a sum of two elements of a cyclic group of at least {SMALLEST_ORDER}; the "
            f"task has {', '.join(each.about for each in chosen.values())}"
        )
    return [_samples(subject, name, each) for name, each in large.items()]


def named(prefix: str, found: Mapping[str, T]) -> dict[str, T]:
    """Results with a prefix before each name: ``ANSWER/`` where a task has several answers."""
    return {prefix + name: value for name, value in found.items()}


def forward_pass(subject: Subject, read: list[str]) -> Pass:
    """The pass over the probe, from the first position on at which an answer is predicted.

    Args:
        subject: The subject, whose task has cyclic groups.
        read: Sites to read, whose tensors may lack earlier positions.
    """
    groups = member(subject.task, "cyclic_groups")()
    first = min(each.answer_position for each in groups.values())
    return subject.forward(torch.from_numpy(subject.probe.tokens), read, first=first)


def _samples(subject: Subject, name: str, group: CyclicGroup) -> CyclicSamples:
    probe = subject.probe
    sums = group.sums(probe.tokens)
    if group.carry is not None:
        sums = np.where(sums >= 0, (sums + probe.factors[group.carry]) % group.order, -1)
    rows = np.flatnonzero(sums >= 0)
    weights = probe.weights[rows]
    return CyclicSamples(
        answer=name,
        group=group,
        rows=rows,
        operands=group.numbers(probe.tokens[rows][:, list(group.operand_positions)]),
        sums=sums[rows],
        weights=weights / weights.sum(),
        train=None if probe.train is None else probe.train[rows],
        place=group.answer_position - probe.tokens.shape[1],
    )
