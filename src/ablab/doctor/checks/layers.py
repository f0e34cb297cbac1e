"""Do blocks have one residual connection each, and MLPs an activation?"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ablab.doctor.attention_calls import attention_calls
from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.growth import growing_states
from ablab.doctor.influence import another, passed, usual_tokens
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_norm, is_users
from ablab.doctor.patient import Patient
from ablab.doctor.residual import repeated_residual
from ablab.doctor.trace import ModuleCall, Trace, trace_of


@check("layers", "model", "blocks have one residual connection each, MLPs an activation")
def layers(patient: Patient) -> list[Finding]:
    """Sets a block's matrices to zero, and tests whether two linear layers are one."""
    if not is_users(patient):
        raise NotApplicable("the model is ablab's own")
    trace = trace_of(patient)
    found = _without_residual(patient, trace) + repeated_residual(patient)
    return found + _linear(trace) + growing_states(patient)


def _without_residual(patient: Patient, trace: Trace) -> list[Finding]:
    model = patient.shaken()
    tokens, _ = patient.batch(2)
    changed = tokens.clone()
    changed[0, -1] = another(int(tokens[0, -1]), usual_tokens(patient))
    if torch.equal(passed(model, tokens), passed(model, changed)):
        return []
    found = []
    for name, holder in model.named_modules():
        if not isinstance(holder, nn.ModuleList) or len(holder) < 2:
            continue
        path = f"{name}.0".removeprefix("module.")
        if not attention_calls(trace, path):
            continue
        with torch.no_grad():
            old = {n: p.clone() for n, p in holder[0].named_parameters()}
            for part in holder[0].modules():
                if not is_norm(part):
                    for parameter in part.parameters(recurse=False):
                        parameter.zero_()
            lost = torch.equal(passed(model, tokens), passed(model, changed))
            for n, p in holder[0].named_parameters():
                p.copy_(old[n])
        if lost:
            found.append(path)
    if not found:
        return []
    return [
        Finding(
            "blocks have no residual connection",
            f"with the matrices of {listed(found)} set to zero, the token at the last position "
            "does not change any logits",
            "The residual (skip) connections are missing: a block must add to its input, "
            "x = x + attention(norm(x)), or the tokens must pass all layers.",
            "certain",
        )
    ]


def _linear(trace: Trace) -> list[Finding]:
    found = []
    for call in trace.modules:
        linear = [part for part in call.module.modules() if type(part) is nn.Linear]
        if len(linear) < 2 or len(list(call.module.children())) < 2 or call.input is None:
            continue
        if any(is_norm(part) for part in call.module.modules() if part is not call.module):
            continue
        ends = min(linear[0].in_features, linear[-1].out_features)
        inner = [(a.out_features, b.in_features) for a, b in pairwise(linear)]
        wide = all(a == b >= ends for a, b in inner)
        if _are_parallel(trace, linear):
            continue
        if wide and not attention_calls(trace, call.name) and _is_affine(call):
            found.append(call.name)
    if not found:
        return []
    return [
        Finding(
            "an MLP is linear",
            f"{listed(dict.fromkeys(found))}: the output of a sum is the sum of the outputs",
            "There is no activation (nonlinearity) between linear layers, so they are one. Add "
            "one, such as F.gelu.",
            "certain",
        )
    ]


def _are_parallel(trace: Trace, layers: Sequence[nn.Module]) -> bool:
    """Whether all layers read the same tensor, as projections to queries, keys and values do."""
    own = [call.input for call in trace.modules if call.module in layers]
    first = own[0] if own else None
    return first is not None and all(x is not None and torch.equal(x, first) for x in own)


def _is_affine(call: ModuleCall) -> bool:
    x = call.input
    if x is None or not x.is_floating_point() or x.ndim < 2 or len(x) < 2:
        return False

    def f(given: Tensor) -> Tensor:
        with torch.no_grad():
            output: Tensor = call.module(given)
        return output

    try:
        one, other = 10 * x[:1], -7 * x[1:2]
        left, right = f(one + other) + f(torch.zeros_like(one)), f(one) + f(other)
    except Exception:  # the module takes other arguments too
        return False
    return torch.allclose(left, right, atol=1e-4 * float(left.abs().max()), rtol=0)
