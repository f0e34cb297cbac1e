"""Does every method of training that a plan may choose give the run that eager training gives?"""

from contextlib import nullcontext
from dataclasses import replace

import torch

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.patient import Patient
from ablab.execute.cost import count_cost
from ablab.execute.method_choice import RANDOM, STATEFUL, possible_methods
from ablab.execute.verify import try_method
from ablab.train.compiling import traces_only
from ablab.train.method import Method
from ablab.train.run import Run

_CPU = torch.device("cpu")
_VMAP = (
    "The runs of a stack share one call of the forward pass under torch.vmap, and with it every "
    "tensor of the model that is neither a parameter nor a buffer. ablab trains each run alone."
)
_COMPILED = (
    "The compiled program is traced from one pass: it does not repeat what a later pass does "
    "otherwise (random numbers of torch or NumPy, a counter, a branch on a value). With the batch "
    "innermost, or in parts, no sample may see another. ablab trains eagerly instead."
)


@check("methods", "model", "every method that a plan may choose agrees with eager training alone")
def methods(patient: Patient) -> list[Finding]:
    """Compares losses and gradients of one batch in training mode, for each method.

    A method that the model does not run under is never used, so it is noted only.
    """
    if patient.training_error:
        raise NotApplicable("two training passes fail; see in_place")
    cost = count_cost(patient.run)
    if isinstance(cost, str):
        raise NotApplicable(f"a step raises {cost}")
    if cost.stateful:
        raise NotApplicable(f"{STATEFUL}, so each run trains alone, eagerly")
    if cost.is_random:
        raise NotApplicable(f"{RANDOM}, so each run trains alone, eagerly")
    findings: dict[str, list[str]] = {}
    methods = possible_methods(cost, _CPU)
    for method in methods:
        with nullcontext() if patient.compiles or not method.compiled else traces_only():
            outcome = try_method(_runs(patient, method), method, _CPU)
        title = method.title
        if method.compiled and not patient.compiles:
            title += " (traced only)"
        if isinstance(outcome, str):
            patient.note("methods", f"{title}: not used, because it fails: {outcome}")
            usual = replace(method, layout="usual")
            if usual not in methods:  # as in training
                methods.append(usual)
            continue
        patient.note("methods", f"{title}: {'agrees, ' if outcome.agrees else ''}{outcome}")
        if not outcome.agrees:
            cause = _COMPILED if method.compiled else _VMAP
            findings.setdefault(cause, []).append(f"{title}: {outcome}")
    return [
        Finding("a method of training differs from eager training", "; ".join(evidence), cause)
        for cause, evidence in findings.items()
    ]


def _runs(patient: Patient, method: Method) -> list[Run]:
    """Two seeds for a stack, if the optimizer can train two, else one."""
    seeds = (0, 1) if method.engine == "stack" and patient.stackable else (0,)
    return [replace(patient.run, seed=patient.run.seed + offset) for offset in seeds]
