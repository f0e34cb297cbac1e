"""Polynomials in a and b: parsed, never evaluated as code. Does not import torch."""

import ast
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

MAX_CHARACTERS = 200
MAX_EXPONENT = 64
_EXPECTED = f"a polynomial in a and b, with + - * and ** (to a number of at most {MAX_EXPONENT})"
_WRITTEN = re.compile(r"[ab0-9+\-*() ]*", re.ASCII)
_OPERATIONS: dict[type[ast.operator], Callable[[Numbers, Numbers], Numbers]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
}


def parse_polynomial(text: str) -> ast.expr:
    """Parses a polynomial with sums, differences, products and powers.

    Raises:
        ValueError: The text is not such a polynomial.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"expected {_EXPECTED}, of at most {MAX_CHARACTERS} characters")
    stray = text[len(_WRITTEN.match(text).group()) :]  # type: ignore[union-attr]
    if stray:
        raise ValueError(f"{stray[0]!r} is not allowed in an operation; expected {_EXPECTED}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"cannot be parsed; expected {_EXPECTED}") from error
    _check(tree)
    return tree


def canonical(text: str) -> str:
    """A polynomial in canonical notation, with Python's spaces and parentheses.

    Raises:
        ValueError: The text is not a polynomial.
    """
    return ast.unparse(parse_polynomial(text))


def evaluate(tree: ast.expr, a: Numbers, b: Numbers, p: int) -> Numbers:
    """Evaluates a polynomial modulo ``p``.

    Args:
        tree: The result of :func:`parse_polynomial`.
        a: Integers in [0, p), of any shape.
        b: Integers in [0, p), of the same shape.
        p: The modulus, below 2**31 so that products do not overflow.

    Returns:
        Integers in [0, p), with the shape of ``a``.
    """
    match tree:
        case ast.Name(id=name):
            return a if name == "a" else b
        case ast.Constant(value=int(value)):
            return np.full_like(a, value % p)
        case ast.UnaryOp(operand=operand):
            return -evaluate(operand, a, b, p) % p
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(exponent))):
            base, result = evaluate(left, a, b, p), np.full_like(a, 1 % p)
            for _ in range(exponent):
                result = result * base % p
            return result
        case ast.BinOp(left=left, op=operation, right=right):
            combine = _OPERATIONS[type(operation)]
            return combine(evaluate(left, a, b, p), evaluate(right, a, b, p)) % p
    raise AssertionError(tree)  # parse_polynomial rejects everything else


def _check(node: ast.expr) -> None:
    match node:
        case ast.Name(id="a" | "b") | ast.Constant(value=int()):
            return
        case ast.Name(id=name):
            raise ValueError(f"{name!r} is neither a nor b; expected {_EXPECTED}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            _check(left)
            if not (isinstance(right, ast.Constant) and isinstance(right.value, int)):
                raise ValueError(f"an exponent must be a number from 0 to {MAX_EXPONENT}")
            if right.value > MAX_EXPONENT:
                raise ValueError(f"exponent {right.value} is above {MAX_EXPONENT}")
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult(), right=right):
            _check(left)
            _check(right)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not allowed; expected {_EXPECTED}")
