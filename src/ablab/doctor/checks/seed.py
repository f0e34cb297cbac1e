"""Is a run a function of its configuration and seed only?"""

import torch

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import record
from ablab.train.method import SOLO
from ablab.train.stack import Stack

_STEPS = 4


@check("seed", "model", "a run is a function of its configuration and seed only")
def seed(patient: Patient) -> list[Finding]:
    """Creates the model and trains a few steps, from two states of torch's generator."""
    # The state of torch's generator is saved and restored around every check.
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
                "Parameters are drawn from a generator other than torch's (NumPy's or Python's), "
                "or depend on the clock. Draw every parameter with torch, which is seeded.",
            )
        ]
    if not patient.trains:
        return []
    once, again = _losses(patient, 1), _losses(patient, 2)
    if once == again:
        return []
    if _only_dropout(patient):
        # Correct in torch, but ablab cannot repeat it; its plan trains such runs alone.
        patient.note(
            "seed",
            "dropout uses torch's global random numbers (F.dropout, dropout_p), so a run cannot "
            "be resumed, replayed or stacked exactly; use nn.Dropout or forward.dropout(x, p, "
            "self.training), whose masks depend on seed and step only",
        )
        return []
    return [
        Finding(
            "training a run again gives different losses",
            f"seed {patient.run.seed}, step {_STEPS}: loss {once[-1]:.8g} at first, "
            f"{again[-1]:.8g} the second time",
            "The forward pass uses torch's global random numbers, as nn.Dropout and F.dropout do, "
            "so the run cannot be resumed, replayed or stacked. Use "
            "forward.dropout(x, p, self.training), whose masks depend on seed and step only. Or "
            "the model carries state from one pass to the next.",
        )
    ]


def _only_dropout(patient: Patient) -> bool:
    """Whether evaluation is deterministic and training draws with torch's dropout."""
    tokens, _ = patient.batch(4)
    model = patient.model().eval()
    if not torch.equal(record(model, tokens, 0).logits, record(model, tokens, 1).logits):
        return False
    trace = record(model.train(), tokens)
    return any(
        call.function == "dropout" or float(call.argument(4, "dropout_p", 0.0)) > 0
        for call in trace.of("dropout", "sdpa")
    )


def _initial(patient: Patient, state: int) -> dict[str, torch.Tensor]:
    """The initial parameters and buffers, for a given state of torch's generator."""
    torch.manual_seed(state)
    return patient.model().state_dict()


def _losses(patient: Patient, state: int) -> list[float]:
    """The losses of a few steps, for a given state of torch's generator."""
    torch.manual_seed(state)
    stack = Stack([patient.trial()], None, torch.device("cpu"), SOLO)
    losses: list[float] = stack.advance(_STEPS).losses[:, 0].tolist()
    return losses
