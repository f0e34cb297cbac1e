"""Does a sample affect other samples of its batch?"""

from torch import nn

from ablab.doctor.attention_calls import calls_over_samples
from ablab.doctor.check import Certainty, Finding, NotApplicable, check
from ablab.doctor.influence import Change, token_changes
from ablab.doctor.locate import leak_of_samples
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.doctor.trace import trace_of
from ablab.train.mixing import batch_mixing

_SWAPPED = (
    "Batch and sequence axes are swapped: the model mixes samples at one position instead of "
    "positions of one sample. torch's attention, transformer and recurrent layers expect (T, B, D) "
    "unless they are created with batch_first=True. Also look for a missing or superfluous "
    "transpose or view."
)
_WHOLE = (
    "A statistic runs over the whole batch: a norm, mean or softmax without its axis, such as "
    "torch.norm(x) instead of torch.norm(x, dim=-1, keepdim=True); or BatchNorm."
)
_BATCH = (
    "A statistic runs over the batch axis, as in BatchNorm or a softmax or mean with dim=0. "
    "Compute it over the model axis (dim=-1), as LayerNorm and RMSNorm do."
)

_SIZE = (
    "A result depends on the number of samples: a reshape or a loop over the batch axis, or a "
    "scale taken from the size of the batch. Samples must not know their batch."
)


@check("samples", "model", "no sample sees another sample of its batch")
def samples(patient: Patient) -> list[Finding]:
    """Replaces samples of a batch and compares the logits of the others, in both modes.

    In training mode, the cause is found by changing one token at a time.
    """
    mixing = batch_mixing(patient.run)
    if not (mixing.training or mixing.evaluation):
        if mixing.possible:
            raise NotApplicable("two passes over the same tokens differ")
        return []
    modes = {"training": mixing.training, "evaluation": mixing.evaluation}
    found = [mode for mode, mixes in modes.items() if mixes]
    only = f", in {found[0]} mode only" if len(found) == 1 else ""
    touching = _touching(patient)
    if not touching:
        cause = _SIZE if mixing.training else _BATCH
        evidence = "the logits of a sample change if its batch has other samples, or fewer"
        return [Finding("samples of a batch see each other", evidence + only, cause)]
    earlier = any(place < c.position for c in touching for _, place in c.others)
    swapped = _over_samples(patient)
    if swapped:
        only += f"; it begins in {swapped}"
        certainty: Certainty = "certain"
    else:
        certainty = "likely"
    if swapped or not _mixes_positions(token_changes(patient)):
        cause = _SWAPPED
    elif earlier:
        cause = _WHOLE
    else:
        cause = _BATCH
    evidence = listed(
        [
            f"changing the token at (sample {c.sample}, position {c.position}) changes the logits "
            f"at (sample, position) {listed(c.others, 4)}"
            for c in touching
        ],
        2,
        "; ",
    )
    return [Finding("samples of a batch see each other", evidence + only, cause, certainty)]


def _over_samples(patient: Patient) -> str:
    """Where attention or a recurrent layer runs over the batch axis, in words; or empty."""
    place = leak_of_samples(patient, True)
    if place is None or not place.name:
        return ""
    if calls_over_samples(trace_of(patient, True), place.name):
        return f"{place.text}, whose attention weights are (batch, batch)"
    layers = [part for part in place.module.modules() if isinstance(part, nn.RNNBase)]
    return f"{place.text}, which has batch_first={layers[0].batch_first}" if layers else ""


def _touching(patient: Patient) -> list[Change]:
    """The changes of a token that change the logits of other samples, in training mode."""
    try:
        return [change for change in token_changes(patient) if change.others]
    except NotApplicable:  # its own dropout, or state
        return []


def _mixes_positions(changes: list[Change]) -> bool:
    """Whether the logits at some position, of any sample, depend on tokens at two positions."""
    seen: dict[int, int] = {}
    return any(
        seen.setdefault(int(place), change.position) != change.position
        for change in changes
        for place in change.changed.any(0).nonzero()
    )
