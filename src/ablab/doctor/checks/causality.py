"""Does a prediction see the token that it predicts?"""

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.future import cause_of_leak
from ablab.doctor.influence import Change, token_changes
from ablab.doctor.messages import listed
from ablab.doctor.parts import is_users
from ablab.doctor.patient import Patient


@check("causality", "model", "no prediction sees a later token of its sample")
def causality(patient: Patient) -> list[Finding]:
    """Changes one token and compares the logits of the predicted positions before it.

    In both modes: a mask may exist only in one of them.
    """
    predicted = patient.predicted
    last = patient.run.task.input_length - 1
    if predicted[0] == last:
        raise NotApplicable("only the last position is predicted, and it has no later token")
    changes: dict[bool, list[Change]] = {}
    for training in (True, False):
        try:
            changes[training] = token_changes(patient, training)
        except NotApplicable:
            continue
    if not changes:
        raise NotApplicable("two passes over the same tokens differ")
    leaks = {training: _leaks(found, predicted) for training, found in changes.items()}
    leaking = [training for training, found in leaks.items() if found]
    has_question = patient.run.task.source_length is not None  # which may be read both ways
    unpredicted = not leaking and is_users(patient) and not has_question
    if unpredicted:  # another task may predict these positions
        everywhere = list(range(last))
        leaks = {training: _leaks(found, everywhere) for training, found in changes.items()}
        leaking = [training for training, found in leaks.items() if found]
    if not leaking:
        return []
    mode = leaking[-1]
    if any(change.others for change in changes[mode]):
        raise NotApplicable("other samples change too; see samples")
    evidence = [
        f"changing the token at position {position} changes the logits at {listed(places, 4)}"
        for position, places in leaks[mode].items()
    ]
    found = cause_of_leak(patient, changes[mode], mode)
    message = "predictions see later tokens, so they can copy the answer"
    if unpredicted:
        message = "logits at positions that this task does not predict see later tokens"
    text, certainty = found.cause, found.certainty
    if len(changes) > len(leaking):
        with_mask = "training" if not mode else "evaluation"
        message += f", in {'training' if mode else 'evaluation'} mode only"
        text = (
            f"Something that hides later tokens in {with_mask} mode is missing in the other mode: "
            f"it depends on self.training. {text}"
        )
    found_at: tuple[str, ...] = (found.evidence,) if found.evidence else ()
    return [
        Finding(message, "; ".join([listed(evidence, 3, "; "), *found_at]), text, certainty),
    ]


def _leaks(changes: list[Change], predicted: list[int]) -> dict[int, list[int]]:
    """The predicted positions before each changed position whose logits change."""
    found: dict[int, list[int]] = {}
    for change in changes:
        seen_at = [place for place in change.own if place < change.position and place in predicted]
        if seen_at:
            found[change.position] = seen_at
    return found
