"""Is a run the same alone and in a stack?"""

import numpy as np
import torch

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.patient import Patient
from ablab.train.method import SOLO, STACK
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.train.template import UnregisteredError

_STEPS = 4
_CPU = torch.device("cpu")


@check("stack", "model", "two runs trained as a stack equal each run alone")
def stack(patient: Patient) -> list[Finding]:
    """Trains two seeds for a few steps, as a stack and one at a time."""
    if patient.training_error:
        raise NotApplicable("two training passes fail; see in_place")
    if not patient.stackable:
        raise NotApplicable("the optimizer trains one run at a time")
    runs = [patient.trial(seed=patient.run.seed + offset) for offset in (0, 1)]
    try:
        alone = np.concatenate([_losses([run]) for run in runs], axis=1)  # (K, R)
    except ValueError as error:
        return [_refused(error)]
    try:
        together = _losses(runs)
    except UnregisteredError as error:
        patient.note("stack", f"each run trains alone: {error}")
        return []
    except ValueError as error:
        return [_refused(error)]
    except Exception as error:
        if "random operation" in str(error):
            raise NotApplicable("the model uses torch's random numbers; see seed") from error
        # Not a mistake: recurrent layers and branches on values are correct, if slower.
        patient.note(
            "stack",
            "the model cannot be stacked, so each run trains alone "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). torch.vmap has no rule for "
            "torch's recurrent layers, for branches on values (if x.max() > …, .item()), or for "
            "writes in place",
        )
        return []
    apart = np.abs(together - alone) / np.abs(alone).clip(min=1e-12)
    if (apart <= 1e-4).all():
        return []
    step, run = np.unravel_index(np.nanargmax(np.nan_to_num(apart, nan=np.inf)), apart.shape)
    return [
        Finding(
            "a run in a stack differs from the run alone",
            f"step {step + 1}, seed {runs[run].seed}: loss {alone[step, run]:.8g} alone, "
            f"{together[step, run]:.8g} in a stack of two",
            "The forward pass uses state that all runs share: a tensor that is neither a parameter "
            "nor a buffer, or torch's global random numbers.",
        )
    ]


def _losses(runs: list[Run]) -> np.ndarray:
    method = SOLO if len(runs) == 1 else STACK
    return Stack(runs, None, _CPU, method).advance(_STEPS).losses


def _refused(error: Exception) -> Finding:
    return Finding(
        "ablab cannot train this model",
        str(error),
        "The runs of a stack share one model and its buffers; only their parameters differ. So no "
        "parameter may be frozen, and buffers must be the same for every seed.",
    )
