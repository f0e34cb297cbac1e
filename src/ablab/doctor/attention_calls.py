"""The calls of a pass that make attention weights: their queries, keys, values and masks.

Axes: B batch, H heads, T sequence, K head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ablab.doctor.trace import Call, Trace


@dataclass(frozen=True)
class Fault:
    """A mistake that a recorded call shows.

    Attributes:
        kind: ``axis``, ``mask``, ``query``, ``scale`` or ``padding``.
        where: The name of the module that makes the call.
        evidence: What was seen.
        cause: What is wrong and what to do, in sentences.
    """

    kind: str
    where: str
    evidence: str
    cause: str


def attention_calls(trace: Trace, inside: str = "") -> list[Call]:
    """The calls of a pass that make attention weights (…, T, T)."""
    length = trace.tokens.shape[1]
    found = []
    for call in trace.of("softmax", "sdpa", inside=inside):
        first = call.argument(0, "query" if call.function == "sdpa" else "input")
        if not isinstance(first, Tensor) or first.ndim < 3 or first.shape[-2] != length:
            continue
        if call.function == "sdpa" or first.shape[-1] == length:
            found.append(call)
    return found


def calls_over_samples(trace: Trace, inside: str = "") -> list[Call]:
    """The calls of a pass in which the samples at one position attend to each other.

    Their weights are (…, B, B), and another axis is the sequence.
    """
    samples, length = trace.tokens.shape
    found = []
    for call in trace.of("softmax", "sdpa", inside=inside):
        first = call.argument(0, "query" if call.function == "sdpa" else "input")
        if not isinstance(first, Tensor) or first.ndim < 3 or first.shape[-2] != samples:
            continue
        if length not in first.shape[:-2]:
            continue
        if call.function == "sdpa" or first.shape[-1] == samples:
            found.append(call)
    return found


def place_of(trace: Trace, call: Call) -> int:
    """The number of a call among all calls of a pass."""
    return next(number for number, each in enumerate(trace.calls) if each is call)


def queries_and_keys(trace: Trace, call: Call) -> tuple[Tensor, Tensor] | None:
    """Queries (…, T, K) and keys (…, T, K) of a call, None if no product of them was recorded."""
    if call.function == "sdpa":
        return call.argument(0, "query"), call.argument(1, "key")
    product = product_of(trace, call)
    if product is None:
        return None
    one, other = product.values[0], product.values[1]
    return one, other.transpose(-2, -1)


def product_of(trace: Trace, call: Call) -> Call | None:
    """The last product of queries and keys before a softmax."""
    scores = call.argument(0, "input")
    for each in reversed(trace.calls[: place_of(trace, call)]):
        if (
            each.function == "matmul"
            and each.where == call.where
            and len(each.values) == 2
            and all(isinstance(value, Tensor) for value in each.values)
            and each.output.shape == scores.shape
        ):
            return each
    return None


def values_of(trace: Trace, call: Call) -> Tensor | None:
    """The values (…, T, K) that a call averages, None if no product with them was recorded."""
    if call.function == "sdpa":
        values: Tensor = call.argument(2, "value")
        return values
    product = _product_with_values(trace, call)
    return None if product is None else product.values[1]


def heads_of(trace: Trace, call: Call) -> Call | None:
    """The call that returns each head's output (B, H, T, K), None if it was not recorded."""
    return call if call.function == "sdpa" else _product_with_values(trace, call)


def _product_with_values(trace: Trace, call: Call) -> Call | None:
    for each in trace.calls[place_of(trace, call) + 1 :]:
        if (
            each.function == "matmul"
            and each.where == call.where
            and len(each.values) == 2
            and all(isinstance(value, Tensor) for value in each.values)
            and each.values[0].shape == call.output.shape
        ):
            return each
    return None


def shown_by(trace: Trace, call: Call) -> Tensor | None:
    """What each query may see: weights of a softmax, or a mask (…, T, T); None if everything.

    Positive where a key is shown, 0 where it is hidden, NaN in rows in which everything is hidden.
    """
    if call.function == "softmax":
        weights: Tensor = call.output
        return weights
    length = trace.tokens.shape[1]
    if call.argument(5, "is_causal", False):
        return torch.ones(length, length).tril()
    mask = call.argument(3, "attn_mask")
    if mask is None:
        return None
    shown: Tensor = mask.double()
    shown = shown if mask.dtype == torch.bool else shown.exp()
    return shown.expand(*shown.shape[:-2], length, length)
