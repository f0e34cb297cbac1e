"""Do the initial parameters let the model learn?"""

import torch
from torch import nn

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_norm
from ablab.doctor.patient import Patient


@check("starts", "model", "initial weights differ, and no norm starts at zero")
def starts(patient: Patient) -> list[Finding]:
    """Looks at the initial values of linear layers and norms.

    One layer that starts at zero is common (an output layer, the last one of a branch). All of them
    are not, nor is a norm after which nothing is left.
    """
    model = patient.model()
    linear = {
        f"{name}.weight": part.weight
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and part.weight.numel() > 1
    }
    flat = [name for name, weight in linear.items() if bool((weight == weight.flatten()[0]).all())]
    if len(linear) > 1 and len(flat) == len(linear):
        return [
            Finding(
                "all linear weights start at the same value",
                listed(_short(name) for name in flat),
                "The initial weights are zero (or another constant), so all units of a layer are "
                "symmetric and learn the same. Draw them at random.",
                "certain",
            )
        ]
    zero = [
        f"{name}.{own}"
        for name, part in model.named_modules()
        if is_norm(part)
        for own, parameter in part.named_parameters(recurse=False)
        if own in ("weight", "scale", "gain", "gamma", "g") and not parameter.any()
    ]
    if zero and _is_constant(patient, model):
        return [
            Finding(
                "norms start at zero",
                f"{listed(map(_short, zero))}: the initial logits are the same for all tokens",
                "The scale of the norm starts at zero, so its output is constant and the layers "
                "around it get no gradient at first. Start the scale at one.",
                "certain",
            )
        ]
    return []


def _is_constant(patient: Patient, model: nn.Module) -> bool:
    with torch.no_grad():
        logits = model.eval()(patient.batch(4)[0])
    return bool((logits - logits[:1, :1]).abs().max() <= 1e-6)


def _short(name: str) -> str:
    return name.removeprefix("module.")
