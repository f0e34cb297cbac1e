"""Is a run the same alone and in a stack?"""

import numpy as np
import torch

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.patient import Patient
from ablab.train.method import SOLO, STACK
from ablab.train.run import Run
from ablab.train.stack import Stack

_STEPS = 4
_CPU = torch.device("cpu")


@check("stack", "model", "two runs trained as a stack equal each run alone")
def stack(patient: Patient) -> list[Finding]:
    """Trains two seeds a few steps as a stack and one by one."""
    if patient.training_error:
        raise NotApplicable("two passes of training fail; see in_place")
    runs = [patient.trial(seed=patient.run.seed + offset) for offset in (0, 1)]
    try:
        alone = np.concatenate([_losses([run]) for run in runs], axis=1)  # (K, R)
    except ValueError as error:
        return [_refused(error)]
    try:
        together = _losses(runs)
    except ValueError as error:
        return [_refused(error)]
    except Exception as error:
        if "random operation" in str(error):
            raise NotApplicable("the model draws torch's random numbers; see seed") from error
        return [
            Finding(
                "the model cannot be stacked",
                f"{type(error).__name__}: {str(error).splitlines()[0]}",
                "torch.vmap runs several runs at once, so the forward pass must not look at a "
                "tensor's value (if x.max() > …, .item(), .tolist()), nor write what parameters "
                "gave in place into a tensor that it made or keeps. Train it with --engine solo "
                "otherwise.",
            )
        ]
    apart = np.abs(together - alone) / np.abs(alone).clip(min=1e-12)
    if (apart <= 1e-4).all():
        return []
    step, run = np.unravel_index(np.nanargmax(np.nan_to_num(apart, nan=np.inf)), apart.shape)
    return [
        Finding(
            "a run in a stack is another run than alone",
            f"step {step + 1}, seed {runs[run].seed}: loss {alone[step, run]:.8g} alone, "
            f"{together[step, run]:.8g} in a stack of two",
            "The forward pass uses something that all runs share beside the parameters: a tensor "
            "that is neither parameter nor buffer, or torch's global random numbers.",
        )
    ]


def _losses(runs: list[Run]) -> np.ndarray:
    method = SOLO if len(runs) == 1 else STACK
    return Stack(runs, None, _CPU, method).advance(_STEPS).losses


def _refused(error: Exception) -> Finding:
    return Finding(
        "ablab does not train this model as it is",
        str(error),
        "Runs share one template of the model and keep their parameters as one row: no parameter "
        "is frozen, and buffers are the same for every seed.",
    )
