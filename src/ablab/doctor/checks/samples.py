"""Does a sample affect other samples of its batch?"""

from ablab.doctor.check import Finding, check
from ablab.doctor.influence import Change, token_changes
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient

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


@check("samples", "model", "no sample sees another sample of its batch")
def samples(patient: Patient) -> list[Finding]:
    """Changes one token and compares the logits of the other samples of the batch."""
    changes = token_changes(patient)
    touching = [change for change in changes if change.others]
    if not touching:
        return []
    earlier = any(place < c.position for c in touching for _, place in c.others)
    if not _mixes_positions(changes):
        cause = _SWAPPED
    elif earlier:
        cause = _WHOLE
    else:
        cause = _BATCH
    evidence = [
        f"changing the token at (sample {c.sample}, position {c.position}) changes the logits at "
        f"(sample, position) {listed(c.others, 4)}"
        for c in touching
    ]
    return [Finding("samples of a batch see each other", listed(evidence, 2, "; "), cause)]


def _mixes_positions(changes: list[Change]) -> bool:
    """Whether the logits at some position, of any sample, depend on tokens at two positions."""
    seen: dict[int, int] = {}
    return any(
        seen.setdefault(int(place), change.position) != change.position
        for change in changes
        for place in change.changed.any(0).nonzero()
    )
