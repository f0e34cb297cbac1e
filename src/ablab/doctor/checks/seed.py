"""Is a run a function of its configuration and seed?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.train.method import SOLO
from ablab.train.stack import Stack

_STEPS = 4


@check("seed", "model", "a run is a function of its configuration and seed alone")
def seed(patient: Patient) -> list[Finding]:
    """Makes the initial model, and trains a few steps, from two states of torch's generator."""
    # Every check has torch's generator for itself.
    first = _initial(patient, 1)
    differing = [
        name
        for name, value in _initial(patient, 2).items()
        if not torch.equal(value.nan_to_num(), first[name].nan_to_num())
    ]
    if differing:
        return [
            Finding(
                "initial parameters are not a function of the seed",
                listed(differing),
                "Something beside torch's generator is drawn from, NumPy's or Python's own say, "
                "or the clock is read: draw every parameter from torch, which begins at the seed.",
            )
        ]
    if not patient.trains:
        return []
    once, again = _losses(patient, 1), _losses(patient, 2)
    if once == again:
        return []
    return [
        Finding(
            "a run trained again is another run",
            f"seed {patient.run.seed}, step {_STEPS}: loss {again[-1]:.8g}, and {once[-1]:.8g} "
            "before",
            "The forward pass draws torch's global random numbers, as nn.Dropout and F.dropout do: "
            "the run could not be resumed, replayed or stacked. Take dropout from "
            "forward.dropout(x, p, self.training), whose masks follow from seed and step. Or the "
            "model carries something over from one pass to the next.",
        )
    ]


def _initial(patient: Patient, state: int) -> dict[str, torch.Tensor]:
    """The initial parameters and buffers, with torch's generator in a given state."""
    torch.manual_seed(state)
    return patient.model().state_dict()


def _losses(patient: Patient, state: int) -> list[float]:
    """The losses of a few steps, with torch's generator in a given state."""
    torch.manual_seed(state)
    stack = Stack([patient.trial()], None, torch.device("cpu"), SOLO)
    losses: list[float] = stack.advance(_STEPS).losses[:, 0].tolist()
    return losses
