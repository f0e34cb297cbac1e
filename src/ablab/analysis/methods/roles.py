"""The roles of input positions: operands, constant tokens such as ``=``. Axes: N, T."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.addition import Addition
from ablab.tasks.base import Task, member
from ablab.tasks.groups import CyclicGroup, NoCyclicGroupError
from ablab.tasks.probe import Probe


@dataclass(frozen=True)
class Operands:
    """The positions of the two operands of a task.

    Attributes:
        first: The positions of the first operand.
        second: Those of the second one, in the same order.
        commutes: Whether exchanging the operands keeps the answer.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    commutes: bool

    def swapped(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Inputs (..., T) with the operands exchanged."""
        found = tokens.copy()
        found[..., list(self.first)] = tokens[..., list(self.second)]
        found[..., list(self.second)] = tokens[..., list(self.first)]
        return found


def operands_of(task: Task) -> Operands | None:
    """The operands of a task that adds two of them in cyclic groups; None for other tasks."""
    groups = _groups(task)
    pairs = {each.operand_positions for each in groups.values()}
    if not pairs or any(len(pair) != 2 for pair in pairs):
        return None
    if isinstance(task, Addition):  # all digits, those without a group included
        n = task.config.n_digits
        pairs = {(place, n + 1 + place) for place in range(n)}
    ordered = sorted(pairs)
    return Operands(
        tuple(first for first, _ in ordered),
        tuple(second for _, second in ordered),
        all(len(set(each.coefficients)) == 1 for each in groups.values()),
    )


def position_roles(task: Task, probe: Probe) -> list[str]:
    """What stands at each input position: an operand, or the token that always does.

    Operands are ``a`` and ``b``, or their digits from left to right, ``a1``, ``a2``, ….
    """
    tokens = probe.tokens
    constant = (tokens == tokens[:1]).all(0)
    roles = [
        task.text(tokens[0, place : place + 1]).strip() if constant[place] else ""
        for place in range(tokens.shape[1])
    ]
    operands = operands_of(task)
    if operands is not None:
        for name, places in (("a", operands.first), ("b", operands.second)):
            for number, place in enumerate(places, 1):
                roles[place] = name if len(places) == 1 else f"{name}{number}"
    return [role or f"position {place}" for place, role in enumerate(roles)]


def _groups(task: Task) -> Mapping[str, CyclicGroup]:
    try:
        found: Mapping[str, CyclicGroup] = member(task, "cyclic_groups")()
    except NoCyclicGroupError:
        return {}
    return found
