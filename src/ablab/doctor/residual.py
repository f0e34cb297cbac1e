"""Residual connections that are added more than once.

With all matrices of the layers set to zero, a block with residual connections returns what it
gets. If the same is added twice, it returns a multiple.

Axes: B batch, T sequence, D model.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ablab.doctor.check import Finding
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_norm
from ablab.doctor.patient import Patient
from ablab.doctor.trace import ModuleCall, Trace, record

_MOST = 16  # a multiple above it, of a single block, is a scale


def repeated_residual(patient: Patient) -> list[Finding]:
    """A finding if blocks without their branches return a multiple of what they get."""
    model = patient.shaken()
    _silence(model)
    tokens, _ = patient.batch(3)
    trace = record(model, tokens)
    inside = _inside_blocks(trace)
    between = [] if inside else _between_blocks(model, trace)
    if not (inside or between):
        return []
    cause = (
        "The residual is added twice: a module that adds its input already (x + f(x)) is called as "
        "x + module(x), or x is added again in the block. The stream doubles in each block and "
        "drowns what layers add. Add it once."
    )
    return [
        Finding(
            "the residual is added more than once",
            f"with the matrices of all layers set to zero, {listed(inside or between, 3, '; ')}",
            cause,
            "certain",
        )
    ]


def _silence(model: nn.Module) -> None:
    """Sets the parameters of everything but embeddings and norms to zero."""
    with torch.no_grad():
        for part in model.modules():
            if not is_norm(part) and not isinstance(part, nn.Embedding):
                own = list(part.parameters(recurse=False))
                # The parameters of a user's module with parts, such as gains, may be anything.
                if list(part.children()) and not isinstance(part, nn.MultiheadAttention):
                    continue
                for parameter in own:
                    parameter.zero_()


def _inside_blocks(trace: Trace) -> list[str]:
    """Blocks whose output is two or more times their input, in words."""
    found = []
    for call in trace.modules:
        if len(list(call.module.children())) < 2 or is_norm(call.module):
            continue
        ratio = _multiple(call.input, call.output)
        if ratio is not None and ratio <= _MOST:
            found.append(f"{call.name} returns {ratio} times its input")
    return found


def _between_blocks(model: nn.Module, trace: Trace) -> list[str]:
    """Lists of layers each of which gets a multiple of what the one before gets."""
    found = []
    for name, holder in model.named_modules():
        if not isinstance(holder, nn.ModuleList) or len(holder) < 2:
            continue
        prefix = name.removeprefix("module.")
        own = {f"{prefix}.{number}" for number in range(len(holder))}
        calls: list[ModuleCall] = [each for each in trace.modules if each.name in own]
        ratios = [_multiple(one.input, other.input) for one, other in pairwise(calls)]
        if ratios and all(ratio is not None and ratio <= _MOST for ratio in ratios):
            found.append(f"each of {prefix} gets {ratios[0]} times what the one before gets")
    return found


def _multiple(one: Tensor | None, other: Tensor | None) -> int | None:
    """The integer above one by which the second tensor is a multiple of the first, or None."""
    if one is None or other is None or one.shape != other.shape or one.ndim < 3:
        return None
    if not one.is_floating_point() or not one.any():
        return None
    ratio = float((one * other).sum() / (one * one).sum())
    whole = round(ratio)
    if whole < 2 or not torch.allclose(other, whole * one, rtol=1e-6, atol=1e-9):
        return None
    return whole
