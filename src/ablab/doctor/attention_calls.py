"""What the calls of softmax and scaled dot-product attention in a pass say: axis, mask and scale.

Axes: B batch, H heads, T sequence, K head.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ablab.doctor.messages import listed
from ablab.doctor.trace import Call, Trace


@dataclass(frozen=True)
class Fault:
    """A mistake that a recorded call shows.

    Attributes:
        kind: ``axis``, ``mask``, ``query`` or ``scale``.
        where: The name of the module that makes the call.
        evidence: What was seen.
        cause: What is wrong and what to do, in sentences.
    """

    kind: str
    where: str
    evidence: str
    cause: str


_MASK = (
    "Set the scores of later positions to minus infinity before the softmax (torch.tril without "
    "a diagonal argument), in both modes and all heads; or use is_causal=True."
)


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


def mask_faults(trace: Trace, inside: str = "") -> list[Fault]:
    """Softmaxes over a wrong axis, masks that show later positions, and queries of one position."""
    found = []
    for call in attention_calls(trace, inside):
        for fault in (_axis(call), _same_query(trace, call), _mask(trace, call)):
            if fault is not None:
                found.append(fault)
                break
    return found


def _axis(call: Call) -> Fault | None:
    if call.function == "sdpa":
        return None
    scores = call.argument(0, "input")
    axis = call.argument(1, "dim")
    if axis is None or axis % scores.ndim == scores.ndim - 1:
        return None
    axis = axis % scores.ndim
    names = {scores.ndim - 2: "the queries", 0: "the batch", 1: "the heads"}
    over = names.get(axis, "another axis")
    return Fault(
        "axis",
        call.where,
        f"softmax(dim={axis - scores.ndim}) on scores {tuple(scores.shape)}",
        f"The softmax runs over the wrong axis: over {over} instead of the keys. Use dim=-1.",
    )


def _weights(trace: Trace, call: Call) -> Tensor | None:
    """What each query may see, (…, T, T), as weights or as a mask; None if everything."""
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
    return shown if mask.dtype == torch.bool else shown.exp()


def _mask(trace: Trace, call: Call) -> Fault | None:
    length = trace.tokens.shape[1]
    weights = _weights(trace, call)
    if weights is None:
        text = "scaled_dot_product_attention is called without a mask, with is_causal=False"
        return Fault("mask", call.where, text, f"The causal mask is missing. {_MASK}")
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    if not weights[..., later].any():
        return None
    weights = weights.nan_to_num()
    seen = int((weights[..., later] != 0).sum())
    evidence = f"{seen:,} of {weights[..., later].numel():,} weights of later positions are not 0"
    if not weights[..., later.T].any():
        cause = "The mask is transposed: each position sees only later ones. Use tril, not triu."
        return Fault("mask", call.where, evidence, cause)
    given = call.argument(3, "attn_mask") if call.function == "sdpa" else None
    if given is not None and given.is_floating_point() and set(given.unique().tolist()) <= {0, 1}:
        cause = (
            "The mask is a float tensor of ones and zeros, which is added to the scores and hides "
            "nothing. Use a boolean mask, or minus infinity where it hides."
        )
        return Fault("mask", call.where, "attn_mask is a float tensor of 0 and 1", cause)
    cause = _kind_of_mask(trace, call, weights, later)
    return Fault("mask", call.where, evidence, cause)


def _kind_of_mask(trace: Trace, call: Call, weights: Tensor, later: Tensor) -> str:
    """Why weights of later positions are not zero."""
    if weights.ndim >= 4 and weights.shape[1] > 1:
        open_heads = weights.transpose(0, 1)[..., later].flatten(1).any(1)
        if not open_heads.all():
            heads = listed(open_heads.nonzero().flatten().tolist())
            return f"The mask is not applied to all heads: head {heads} is unmasked. {_MASK}"
    if call.function == "softmax":
        scores = call.argument(0, "input")[..., later]
        if not scores.any():
            return (
                "Masked scores are set to zero before the softmax (multiplied by the mask), and "
                "exp(0) is 1. Set them to minus infinity (-inf): masked_fill(~mask, -inf)."
            )
    index = torch.arange(weights.shape[-1])
    ahead = (index[None] - index[:, None])[(weights != 0).flatten(0, -3).any(0)]
    furthest = int(ahead.max())
    if furthest == 1:
        return (
            "The mask is off by one: each position sees the next token. Use torch.tril without "
            "diagonal=1 (or torch.triu with diagonal=1 for what is hidden)."
        )
    if furthest < weights.shape[-1] - 1:
        return (
            f"The window of the mask reaches {furthest} positions into the future. A causal window "
            f"covers earlier positions only: 0 <= query - key < width."
        )
    if call.function == "softmax" and _masked_afterwards(trace, call, later):
        return (
            "The mask is applied after the softmax, whose sum already includes later positions, "
            "so the weights do not sum to one. Apply it to the scores before the softmax."
        )
    return f"The causal mask is missing. {_MASK}"


def _masked_afterwards(trace: Trace, call: Call, later: Tensor) -> bool:
    """Whether a later product in the same module sets the weights of later positions to zero."""
    rest = trace.calls[_place(trace, call) + 1 :]
    return any(
        each.function == "mul"
        and each.where == call.where
        and isinstance(each.output, Tensor)
        and each.output.shape == call.output.shape
        and not each.output[..., later].any()
        for each in rest
    )


def _place(trace: Trace, call: Call) -> int:
    return next(number for number, each in enumerate(trace.calls) if each is call)


def queries_and_keys(trace: Trace, call: Call) -> tuple[Tensor, Tensor] | None:
    """Queries (…, T, K) and keys (…, T, K) of a call, None if no product of them was recorded."""
    if call.function == "sdpa":
        return call.argument(0, "query"), call.argument(1, "key")
    product = _product(trace, call)
    if product is None:
        return None
    one, other = product.values[0], product.values[1]
    return one, other.transpose(-2, -1)


def _product(trace: Trace, call: Call) -> Call | None:
    """The last product of queries and keys before a softmax."""
    scores = call.argument(0, "input")
    for each in reversed(trace.calls[: _place(trace, call)]):
        if (
            each.function == "matmul"
            and each.where == call.where
            and len(each.values) == 2
            and all(isinstance(value, Tensor) for value in each.values)
            and each.output.shape == scores.shape
        ):
            return each
    return None


def _same_query(trace: Trace, call: Call) -> Fault | None:
    pair = queries_and_keys(trace, call)
    if pair is None or not torch.equal(pair[0], pair[0][..., -1:, :].expand_as(pair[0])):
        return None
    return Fault(
        "query",
        call.where,
        f"the queries {tuple(pair[0].shape)} are the same at every position",
        "All positions use the same query, such as that of the last position.",
    )


def scale_faults(trace: Trace) -> list[Fault]:
    """Calls whose scores are not q·k / sqrt(d_head), but exactly another power of d_head."""
    found = []
    for call in attention_calls(trace):
        pair = queries_and_keys(trace, call)
        if pair is None or pair[0].shape[-1] < 2:
            continue
        norms = pair[0].norm(dim=-1)
        if float(norms.std()) < 1e-3 * float(norms.mean()):  # normed queries have their own scale
            continue
        width = pair[0].shape[-1]
        power = _power(trace, call, width)
        if power is not None and power not in (-0.5, None):
            found.append(_scale_fault(call, power, width))
    return found


def _scale_fault(call: Call, power: float, width: int) -> Fault:
    causes = {
        0.0: "The scores are not divided by sqrt(d_head)",
        0.5: "The scores are multiplied by sqrt(d_head) instead of divided",
        -1.0: "The scores are scaled twice: they are divided by d_head instead of sqrt(d_head)",
    }
    return Fault(
        "scale",
        call.where,
        f"the scores are q·k times {width**power:.4g}, with d_head = {width}; usual is "
        f"{width**-0.5:.4g}",
        f"{causes[power]}. Its scale decides how sharp the softmax is. If this is on purpose (as "
        "in T5 or muP), say so with meant.",
    )


def _power(trace: Trace, call: Call, width: int) -> float | None:
    """The power of d_head by which q·k is multiplied: 0, 0.5, -0.5, -1; None if it is another."""
    before = list(_scalars(trace, call))
    if call.function == "sdpa":
        given = call.argument(6, "scale")
        factor = width**-0.5 if given is None else float(given)
        shapes = {tuple(call.argument(number, "").shape) for number in (0, 1)}
        for scalar, shape in before:
            if shape in shapes and math.isclose(scalar, width**-0.5, rel_tol=1e-3):
                factor *= scalar
    else:
        found = _factor(trace, call)
        if found is None:
            return None
        factor = found
        scores = tuple(call.argument(0, "input").shape)
        inputs = [scalar for scalar, shape in before if shape != scores]
        roots = (width**-0.5, width**-0.25)
        if factor == 1 and any(math.isclose(s, r, rel_tol=1e-3) for s in inputs for r in roots):
            return -0.5
    for power in (-0.5, 0.0, 0.5, -1.0):
        if math.isclose(factor, width**power, rel_tol=1e-3):
            return power
    return None


def _factor(trace: Trace, call: Call) -> float | None:
    """What multiplies q·k; differences between two samples, so that biases cancel out."""
    product = _product(trace, call)
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
    for each in trace.calls[: _place(trace, call)]:
        if each.function not in ("mul", "div") or each.where != call.where or len(each.values) < 2:
            continue
        one, other = each.values[:2]
        if isinstance(one, Tensor) and isinstance(other, int | float) and other:
            yield (1 / other if each.function == "div" else float(other)), tuple(one.shape)
