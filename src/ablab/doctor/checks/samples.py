"""Does a sample see another?"""

from ablab.doctor.check import Finding, check
from ablab.doctor.influence import Change, token_changes
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient

_SWAPPED = (
    "Batch and sequence axes are swapped: the model mixes samples at one position, and not "
    "positions of one sample. torch's attention, transformer and recurrent layers read (T, B, D) "
    "unless they are made with batch_first=True; look for a transpose or a view too few or too "
    "many."
)
_WHOLE = (
    "A statistic is taken over the whole batch: a norm, mean or softmax without its axis, such as "
    "torch.norm(x) where torch.norm(x, dim=-1, keepdim=True) is meant; or by BatchNorm."
)
_BATCH = (
    "A statistic runs over the batch axis, as in BatchNorm or a softmax or mean with dim=0: take "
    "it over the model axis (dim=-1), as LayerNorm and RMSNorm do."
)


@check("samples", "model", "no sample sees another sample of its batch")
def samples(patient: Patient) -> list[Finding]:
    """Changes one token and looks at the logits of the batch's other samples."""
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
    """Whether any position's logits, of whatever sample, depend on tokens of two positions."""
    seen: dict[int, int] = {}
    return any(
        seen.setdefault(int(place), change.position) != change.position
        for change in changes
        for place in change.changed.any(0).nonzero()
    )
