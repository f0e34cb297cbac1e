"""Does the optimizer see every tensor that should be trained?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.model.unregistered import loose_tensors
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
    made = [] if loose else _made_in_forward(patient)
    if made:
        findings.append(
            Finding(
                "a layer or parameter is created in the forward pass",
                f"the logits depend on trainable tensors {listed(made)}, which the model does not "
                "hold, and which are others in the next pass",
                "A layer or parameter that is created in the forward pass is new and random in "
                "each pass, and no optimizer trains it. Create it in __init__.",
                "certain",
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


def _made_in_forward(patient: Patient) -> list[str]:
    """The shapes of trainable tensors that two passes share with neither the model nor each other.

    They are the leaves of the graph of the logits.
    """
    model = patient.model()
    tokens, _ = patient.batch(2)
    own = {id(each) for each in model.parameters()}
    passes = [_leaves(model(tokens.clone())) for _ in range(2)]
    one, other = ({id(leaf): leaf for leaf in each if id(leaf) not in own} for each in passes)
    return [str(tuple(leaf.shape)) for key, leaf in one.items() if key not in other]


def _leaves(logits: torch.Tensor) -> list[torch.Tensor]:
    """The trainable tensors in the graph of the logits, kept alive so that each id is unique."""
    found, seen, queue = [], set(), [logits.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        queue += [following for following, _ in node.next_functions]
    return found
