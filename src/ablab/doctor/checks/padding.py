"""Is padding excluded from the loss?"""

import numpy as np
from numpy.typing import NDArray

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed, share
from ablab.doctor.patient import Patient
from ablab.tasks.config import IGNORED

_SAMPLES = 512
_OFTEN = 30
_CAUSE = (
    "Padding is easy to predict and dominates the loss: the loss falls although nothing useful is "
    "learned, and every mean depends on the lengths. Set the targets of padding to IGNORED (-100), "
    "set ragged in the task's configuration, and exclude these positions from the measures."
)


@check("padding", "task", "padding is never predicted")
def padding(patient: Patient) -> list[Finding]:
    """Looks for the declared padding among the targets, or else for a token used as padding."""
    tokens, targets = (each.numpy() for each in patient.batch(_SAMPLES))
    declared = patient.run.task.padding
    token = _looks_like_padding(tokens) if declared is None else declared
    if token is None:
        return []
    counted = int((targets == token).sum())
    # A token that only looks like padding may be a valid end-of-sample token, once per sample.
    allowed = 0 if declared is not None else len(targets)
    if counted <= allowed:
        return []
    cause = _CAUSE
    ignored = _ignored(patient, tokens, targets, token)
    if ignored:
        cause = (
            f"Targets of token {listed(ignored)} are always ignored instead: the wrong token is "
            f"taken for padding. {_CAUSE}"
        )
    how = "declared by the task" if declared is not None else "fills the ends of shorter samples"
    return [
        Finding(
            "padding is in the loss",
            f"{share(counted, targets.size)} targets are token {token}, which {how}"
            if declared is None
            else f"{share(counted, targets.size)} targets are token {token}, {how} as padding",
            cause,
        )
    ]


def _ignored(
    patient: Patient, tokens: NDArray[np.int64], targets: NDArray[np.int64], padding: int
) -> list[int]:
    """The ordinary tokens that often come next and are never counted."""
    places = [(at, p) for at, p in enumerate(patient.predicted) if p + 1 < tokens.shape[1]]
    following = tokens[:, [p + 1 for _, p in places]]
    counted = targets[:, [at for at, _ in places]] != IGNORED
    seen, often = np.unique(following, return_counts=True)
    return [
        int(token)
        for token, times in zip(seen, often, strict=True)
        if token != padding and times >= _OFTEN and not counted[following == token].any()
    ]


def _looks_like_padding(tokens: NDArray[np.int64]) -> int | None:
    """The token that fills the ends of samples of several lengths and is nowhere else, or None."""
    length = tokens.shape[1]
    for token in np.unique(tokens[:, -1]):
        is_it = tokens == token
        runs = np.where(is_it.all(1), length, np.argmin(is_it[:, ::-1], axis=1))
        only_at_ends = int(is_it.sum()) == int(runs.sum())
        if only_at_ends and len(np.unique(runs)) >= 3 and runs.max() >= 2:
            return int(token)
    return None
