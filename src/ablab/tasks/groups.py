"""The cyclic groups of tasks, for Fourier analyses. Does not import torch.

In a cyclic group, the elements are the powers (or multiples) of one of them. Element k is written
as the number k, so the group operation is the addition of these numbers modulo the order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class NoCyclicGroupError(ValueError):
    """A task's answer is not a sum in a cyclic group; the message has the reason."""


@dataclass(frozen=True)
class CyclicGroup:
    """A cyclic group in which a task adds: answer = Σ coefficient · operand (mod ``order``).

    Attributes:
        order: The number of elements (n).
        elements: The token of element k, for k = 0 … n - 1, of shape (n,).
        operand_positions: The positions of the operands in the input.
        coefficients: The coefficient of each operand, 1 or -1.
        answer_position: The position in the input at which the answer is predicted.
        carry: The factor that is added to the sum, such as ``carry_into_1``; None if nothing is.
        about: The group, in a few words.
    """

    order: int
    elements: NDArray[np.int64]
    operand_positions: tuple[int, ...]
    coefficients: tuple[int, ...]
    answer_position: int
    carry: str | None
    about: str

    def numbers(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number k of each token's element, of the same shape; -1 if it is not an element."""
        size = 1 + max(int(self.elements.max()), int(tokens.max(initial=0)))
        table = np.full(size, -1)
        table[self.elements] = np.arange(self.order)
        found: NDArray[np.int64] = table[tokens]
        return found

    def sums(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sum of the operands, without a carry, as the number of an element.

        Args:
            tokens: Inputs of shape (..., T).

        Returns:
            Numbers of shape (...), -1 where an operand is not an element.
        """
        operands = self.numbers(tokens[..., list(self.operand_positions)])
        total = (operands * np.array(self.coefficients)).sum(-1) % self.order
        return np.where((operands >= 0).all(-1), total, -1)


def additive_group(
    order: int, positions: Sequence[int], coefficients: Sequence[int], answer: int
) -> CyclicGroup:
    """The numbers 0 … n - 1 under addition modulo n, which are their own tokens.

    Args:
        order: The number of elements (n).
        positions: The positions of the operands.
        coefficients: The coefficient of each operand, 1 or -1.
        answer: The position at which the answer is predicted.
    """
    about = f"the integers modulo {order} under addition"
    elements = np.arange(order)
    return CyclicGroup(order, elements, tuple(positions), tuple(coefficients), answer, None, about)


def multiplicative_group(p: int, positions: Sequence[int], answer: int) -> CyclicGroup:
    """The numbers 1 … p - 1 under multiplication modulo a prime p, which are their own tokens.

    Element k is g**k, where g is the smallest primitive root of p: the number of an element is its
    discrete logarithm.

    Args:
        p: The modulus.
        positions: The positions of the factors.
        answer: The position at which the product is predicted.

    Raises:
        NoCyclicGroupError: p is not an odd prime.
    """
    if p == 2:
        raise NoCyclicGroupError("modulo 2, 1 is the only number with an inverse")
    if not is_prime(p):
        raise NoCyclicGroupError(
            f"{p} is not prime, so not all numbers from 1 to {p - 1} have inverses"
        )
    root = primitive_root(p)
    powers = np.array(_powers(root, p))
    about = f"the integers 1 to {p - 1} under multiplication modulo {p}, as powers of {root}"
    return CyclicGroup(p - 1, powers, tuple(positions), (1,) * len(positions), answer, None, about)


def is_prime(number: int) -> bool:
    """Whether a number has no divisor but 1 and itself, by trial division."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def primitive_root(p: int) -> int:
    """The smallest number whose powers modulo a prime p are all of 1 … p - 1."""
    return next(root for root in range(1, p) if len(set(_powers(root, p))) == p - 1)


def _powers(root: int, p: int) -> list[int]:
    """root**0 … root**(p - 2) modulo p."""
    powers = [1]
    while len(powers) < p - 1:
        powers.append(powers[-1] * root % p)
    return powers
