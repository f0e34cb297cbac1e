"""Compares autograd's gradients with differences of the loss, and says where they part.

A branch that is detached leaves every parameter with some gradient, but not with the derivative.

Axes: B batch, T sequence, V vocabulary.
"""

import torch
from torch import Tensor, nn

from ablab.doctor.check import Finding
from ablab.doctor.influence import passed
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record

_STEP = 1e-6
_APART = 1e-6  # relative; the error of the difference is about 1e-9


def detached_branches(patient: Patient) -> list[Finding]:
    """A finding if gradients of embeddings are not the derivative of the logits.

    Only for models that run in float64; others have no finding.
    """
    if patient.precision != torch.float64:
        return []
    model = patient.shaken()
    tokens, _ = patient.batch(4)
    trace = record(model, tokens, gradients=True)
    if not trace.logits.requires_grad or not torch.equal(trace.logits, passed(model, tokens)):
        return []  # nothing to compare, or state that another pass changes
    _value(trace.logits).backward()  # type: ignore[no-untyped-call]
    wrong = []
    for name, part in model.named_modules():
        if not isinstance(part, nn.Embedding) or part.weight.grad is None:
            continue
        gradient = part.weight.grad
        expected = float((gradient * gradient).sum())
        if not expected:
            continue
        measured = _slope(model, part.weight, gradient, tokens)
        if abs(measured - expected) > _APART * max(abs(measured), expected):
            wrong.append((name.removeprefix("module."), measured / expected))
    if not wrong:
        return []
    places = [each.where or "the model" for each in trace.of("detach") if _loses(each.values)]
    frozen = [name for name in trace.without_graph if not name.endswith("loss")]
    if not places and not frozen:
        return []
    if trace.of("round"):  # a straight-through estimator, whose gradient is another one on purpose
        return []
    seen = [f"{name} (torch.no_grad)" for name in frozen] + places
    slopes = (f"of {name} by {abs(ratio - 1):.2g} of it" for name, ratio in wrong)
    return [
        Finding(
            "gradients are not the derivative of the loss",
            f"along the gradient {listed(slopes)}; the graph is cut in "
            f"{listed(dict.fromkeys(seen))}",
            "A branch is detached (.detach(), .data) or runs under torch.no_grad, so what comes "
            "before it gets only part of its gradient. If this is on purpose, say so with meant.",
        )
    ]


def _value(logits: Tensor) -> Tensor:
    return logits.square().mean()


def _slope(model: nn.Module, weight: Tensor, direction: Tensor, tokens: Tensor) -> float:
    """The derivative of the value along a direction of a parameter, by a central difference."""
    step = _STEP / float(direction.norm())
    old = weight.detach().clone()
    values = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for sign in (1, -1):
            weight.copy_(old + sign * step * direction)
            torch.manual_seed(0)
            values.append(float(_value(model(tokens.clone()))))
        weight.copy_(old)
    return (values[0] - values[1]) / (2 * step)


def _loses(values: tuple[object, ...]) -> bool:
    """Whether a tensor that has a graph, and is no parameter, is detached."""
    given = values[0] if values else None
    return isinstance(given, Tensor) and given.requires_grad and not given.is_leaf
