"""Mistakes of the scale by which q·k is multiplied, from the calls of attention.

Axes: B batch, H heads, T sequence, K head.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ablab.doctor.attention_calls import (
    Fault,
    attention_calls,
    place_of,
    product_of,
    queries_and_keys,
)
from ablab.doctor.trace import Call, Trace


def scale_faults(trace: Trace) -> list[Fault]:
    """Calls whose scores are not q·k / sqrt(d_head), but q·k times another known number."""
    found = []
    for call in attention_calls(trace):
        pair = queries_and_keys(trace, call)
        if pair is None or pair[0].shape[-1] < 2:
            continue
        norms = pair[0].norm(dim=-1)
        if float(norms.std()) < 1e-3 * float(norms.mean()):  # normed queries have their own scale
            continue
        width = pair[0].shape[-1]
        factor = _scale(trace, call, width)
        if factor is None or math.isclose(factor, width**-0.5, rel_tol=1e-3):
            continue
        cause = _cause(pair[0], factor)
        if cause:
            found.append(_scale_fault(call, factor, width, cause))
    return found


def _cause(queries: Tensor, factor: float) -> str:
    """What a factor of q·k is, in words; empty if it is nothing known."""
    width, length = queries.shape[-1], queries.shape[-2]
    model = width * queries.shape[1] if queries.ndim == 4 else width
    causes = {
        1.0: "The scores are not divided by sqrt(d_head)",
        width**0.5: "The scores are multiplied by sqrt(d_head) instead of divided",
        1 / width: (
            "The scores are scaled twice: they are divided by d_head instead of sqrt(d_head)"
        ),
        model**-0.5: "The scores are divided by sqrt(d_model) instead of sqrt(d_head)",
        length**-0.5: (
            "The scores are divided by the root of the number of positions, sqrt(T), instead of "
            "sqrt(d_head)"
        ),
    }
    for value, text in causes.items():
        if math.isclose(factor, value, rel_tol=1e-3):
            return text
    return ""


def _scale_fault(call: Call, factor: float, width: int, cause: str) -> Fault:
    return Fault(
        "scale",
        call.where,
        f"the scores are q·k times {factor:.4g}, with d_head = {width}; usual is {width**-0.5:.4g}",
        f"{cause}. Its scale decides how sharp the softmax is. If this is on purpose (as "
        "in T5 or muP), say so with meant.",
    )


def _scale(trace: Trace, call: Call, width: int) -> float | None:
    """The number by which q·k is multiplied; None if it is not one number."""
    before = list(_scalars(trace, call))
    root = float(width**-0.5)
    if call.function == "sdpa":
        given = call.argument(6, "scale")
        factor = root if given is None else float(given)
        shapes = {tuple(call.argument(number, "").shape) for number in (0, 1)}
        for scalar, shape in before:
            if shape in shapes and math.isclose(scalar, root, rel_tol=1e-3):
                factor *= scalar
        return factor
    factor_found = _factor(trace, call)
    if factor_found == 1:
        scores = tuple(call.argument(0, "input").shape)
        inputs = [scalar for scalar, shape in before if shape != scores]
        model = float((width * call.output.shape[1]) ** -0.5) if call.output.ndim == 4 else root
        if any(math.isclose(s, r, rel_tol=1e-3) for s in inputs for r in (root, width**-0.25)):
            return root
        if any(math.isclose(s, model, rel_tol=1e-3) for s in inputs):
            return model
    return factor_found


def _factor(trace: Trace, call: Call) -> float | None:
    """What multiplies q·k; differences between two samples, so that biases cancel out."""
    product = product_of(trace, call)
    if product is None or len(product.output) < 2:
        return None
    scores, raw = call.argument(0, "input"), product.output
    length = scores.shape[-1]
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    change, cause = (scores[0] - scores[1])[..., seen], (raw[0] - raw[1])[..., seen]
    finite = change.isfinite()
    change, cause = change[finite], cause[finite]
    size = float((cause * cause).sum())
    if not size:
        return None
    factor = float((change * cause).sum()) / size
    if float((change - factor * cause).abs().max()) > 1e-3 * float(change.abs().max()):
        return None
    return 1.0 if math.isclose(factor, 1, rel_tol=1e-4) else factor


def _scalars(trace: Trace, call: Call) -> Iterator[tuple[float, tuple[int, ...]]]:
    """The scalars by which tensors of the same module are multiplied before a call."""
    for each in trace.calls[: place_of(trace, call)]:
        if each.function not in ("mul", "div") or each.where != call.where or len(each.values) < 2:
            continue
        one, other = each.values[:2]
        if isinstance(one, Tensor) and isinstance(other, int | float) and other:
            yield (1 / other if each.function == "div" else float(other)), tuple(one.shape)
