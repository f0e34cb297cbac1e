"""Finds the module in which a leak begins: its input is as before, its output is not.

Axes: B batch, T sequence, D model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablab.doctor.influence import another, usual_tokens
from ablab.doctor.patient import Patient
from ablab.doctor.trace import Trace, record

Forbidden = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """Where a leak begins.

    Attributes:
        name: The module's name; empty for the model itself, outside all modules in it.
        module: The module.
    """

    name: str
    module: nn.Module

    @property
    def text(self) -> str:
        """The name with the class: ``blocks.0.attn (Attention)``."""
        kind = type(self.module).__name__
        return f"{self.name} ({kind})" if self.name else f"{kind}, outside its parts"


def first_leak(before: Trace, after: Trace, forbidden: Forbidden, tolerance: float) -> Place | None:
    """The innermost module whose forbidden outputs change although its forbidden inputs do not.

    Args:
        before: A pass.
        after: The same pass after a change of the tokens.
        forbidden: The part of a (B, T, …) tensor that must not change; tensors (T, B, …) are
            transposed.
        tolerance: Changes below it, relative to the largest value, do not count.
    """
    sizes = before.tokens.shape
    for one, other in zip(before.modules, after.modules, strict=False):
        if one.name != other.name or one.output is None or other.output is None:
            return None
        output, after_it = _batch_first(one.output, sizes), _batch_first(other.output, sizes)
        if output is None or after_it is None or output.shape != after_it.shape:
            continue
        if not _changed(output, after_it, forbidden, tolerance):
            continue
        if one.input is None or other.input is None:
            continue
        given, altered = _batch_first(one.input, sizes), _batch_first(other.input, sizes)
        if given is None or altered is None:
            continue
        if not _changed(given, altered, forbidden, tolerance):
            return Place(one.name, one.module)
    if _changed(before.logits, after.logits, forbidden, tolerance):
        inner = getattr(before.model, "module", before.model)
        return Place("", inner)
    return None


def _batch_first(x: Tensor, sizes: torch.Size) -> Tensor | None:
    """A tensor as (B, T, …), also if it is (T, B, …); None if it is neither."""
    if x.shape[:2] == sizes:
        return x
    return x.transpose(0, 1) if x.shape[:2] == sizes[::-1] else None


def _changed(one: Tensor, other: Tensor, forbidden: Forbidden, tolerance: float) -> bool:
    if not one.is_floating_point():
        return bool((forbidden(one) != forbidden(other)).any())
    least = tolerance * max(1e-3, float(one.abs().max()))
    return bool((forbidden(one) - forbidden(other)).abs().max() > least)


def leak_of_future(patient: Patient, training: bool) -> Place | None:
    """Where earlier positions first depend on the last token."""
    return _leak(patient, training, (0, -1), lambda x: x[:, :-1])


def leak_of_samples(patient: Patient, training: bool) -> Place | None:
    """Where the other samples first depend on a token of the first one."""
    return _leak(patient, training, (0, 0), lambda x: x[1:])


def _leak(
    patient: Patient, training: bool, at: tuple[int, int], forbidden: Forbidden
) -> Place | None:
    length = patient.run.task.input_length
    tokens, _ = patient.batch(3 if length != 3 else 4)
    changed = tokens.clone()
    changed[at] = another(int(tokens[at]), usual_tokens(patient))
    model = patient.shaken().train(training)
    before, after = record(model, tokens), record(model, changed)
    return first_leak(before, after, forbidden, patient.tolerance)
