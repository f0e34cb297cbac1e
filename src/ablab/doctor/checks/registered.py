"""Does the optimizer see every tensor that should be trained?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.unregistered import loose_tensors
from ablab.train.method import SOLO
from ablab.train.stack import Stack

_STEPS = 3  # if the output layer starts at zero, earlier layers move from the second step on


@check("registered", "model", "the optimizer sees and moves every parameter")
def registered(patient: Patient) -> list[Finding]:
    """Looks for parameters in plain attributes, and trains for three steps."""
    loose = [each for each in loose_tensors(patient.model()) if each.trains]
    findings = []
    if loose:
        findings.append(
            Finding(
                "parameters are missing from the optimizer",
                listed(f"{each.name} ({each.size:,} entries)" for each in loose),
                "They are not registered with the model: they are in a plain list, tuple, dict or "
                "attribute. Use nn.ParameterList, nn.ModuleList or nn.ModuleDict, or assign an "
                "nn.Parameter to the module itself.",
            )
        )
    still = _unmoved(patient) if patient.trains else []
    if still:
        optimizer = patient.run.train.optimizer_config.kind
        findings.append(
            Finding(
                f"parameters did not move in {_STEPS} steps of {optimizer}",
                listed(still),
                "They get a gradient but no update: the optimizer was created with only some of "
                "the parameters, or the forward pass uses a copy of them.",
            )
        )
    return findings


def _unmoved(patient: Patient) -> list[str]:
    """The parameters that have a gradient but that training does not change."""
    stack = Stack([patient.trial()], None, torch.device("cpu"), SOLO)
    before = {name: value.clone() for name, value in stack.layout.views(stack.theta).items()}
    stack.advance(_STEPS)
    after = stack.layout.views(stack.theta)
    return [
        name
        for name, value in before.items()
        if torch.equal(value, after[name]) and name not in patient.without_gradient
    ]
