"""Is the target of each position the next token?"""

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.messages import share
from ablab.doctor.patient import Patient
from ablab.tasks.config import IGNORED

_SAMPLES = 256


@check("targets", "task", "the target of each position is the next token")
def targets(patient: Patient) -> list[Finding]:
    """Compares each target with the next token and with the token at its own position."""
    tokens, answers = patient.batch(_SAMPLES)
    length = patient.run.task.input_length
    places = [(at, p) for at, p in enumerate(patient.predicted) if p + 1 < length]
    columns = [at for at, _ in places]
    given = answers[:, columns]
    counted = given != IGNORED
    total = int(counted.sum())
    if not total:
        raise NotApplicable("no predicted position has a next token in the input")
    here = tokens[:, [p for _, p in places]]
    following = tokens[:, [p + 1 for _, p in places]]
    right = int(((given == following) & counted).sum())
    own = int(((given == here) & counted).sum())
    if right == total:
        return []
    row = int(((given != following) & counted).any(-1).nonzero()[0])
    evidence = (
        f"{share(right, total)} targets equal the next token, {share(own, total)} the token at "
        f"their own position; for example tokens {tokens[row].tolist()} with targets "
        f"{answers[row].tolist()} at positions {patient.predicted}"
    )
    if own == total:
        return [
            Finding(
                "the targets are the tokens at their own positions",
                evidence,
                "Targets are not shifted, so the model only learns to copy its input. With inputs "
                "tokens[:-1], the targets are tokens[1:].",
            )
        ]
    return [
        Finding(
            "the targets are not the next tokens",
            evidence,
            "Targets are shifted by more than one or in the wrong direction, or belong to other "
            "samples. The target at position p must be the token at p + 1.",
        )
    ]
