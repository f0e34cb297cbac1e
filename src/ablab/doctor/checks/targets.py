"""Is the target of each position the next token?"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.doctor.check import Certainty, Finding, NotApplicable, check
from ablab.doctor.messages import listed, share
from ablab.doctor.patient import Patient
from ablab.tasks.config import IGNORED

_SAMPLES = 256
_MANY = 4096
_PAIRS = 200  # with equal inputs; fewer say too little
_MOST_CHANCE = 0.5


@check("targets", "task", "the target of each position is the next token")
def targets(patient: Patient) -> list[Finding]:
    """Compares each target with the next token and with the token at its own position.

    In training, then for held-out samples, which must follow the same rule.
    """
    try:
        found = _compared(patient, *patient.batch(_SAMPLES))
    except NotApplicable:
        found = _undetermined(patient)
        if not found:
            raise
    if found:
        return found
    batch = patient.task.held_out(_SAMPLES)
    if not len(batch.tokens):
        return []
    held_out = _compared(patient, torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets))
    return [
        Finding(
            "held-out targets follow another rule than those of training",
            f"all training targets are the next tokens; of the held-out ones {each.evidence}",
            "held_out() makes its targets differently from draw() (reversed, shifted, of other "
            "samples), so evaluation measures another task.",
            "certain",
        )
        for each in held_out
    ]


def _undetermined(patient: Patient) -> list[Finding]:
    """A finding if samples with equal inputs agree in their targets no more than by chance."""
    tokens, answers = patient.batch(_MANY)
    lines = []
    for column, place in enumerate(patient.predicted):
        counted = answers[:, column] != IGNORED
        given, wanted = tokens[counted, : place + 1], answers[counted, column]
        if not len(wanted):
            continue
        _, group = np.unique(given.numpy(), axis=0, return_inverse=True)
        both = np.stack([group.ravel(), wanted.numpy()], 1)
        pairs, agreeing = _pairs(group), _pairs(both)
        chance = _pairs(wanted.numpy()) / max(1, math.comb(len(wanted), 2))
        if pairs < _PAIRS or chance > _MOST_CHANCE or agreeing > 1.5 * chance * pairs:
            return []
        lines.append(f"at position {place} {share(agreeing, pairs)} agree, {chance:.3g} by chance")
    if not lines:
        return []
    return [
        Finding(
            "targets are not determined by the input",
            f"of pairs of samples with the same input, {listed(lines, 3, '; ')}",
            "The targets do not depend on the input more than chance would give: a part of the "
            "input that they depend on is cut off, or they are random or belong to other samples.",
            "certain",
        )
    ]


def _pairs(groups: NDArray[np.int64]) -> int:
    """The number of pairs of entries (or rows) with equal values."""
    counts = np.unique(groups, axis=0, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _compared(patient: Patient, tokens: Tensor, answers: Tensor) -> list[Finding]:
    """The findings on one batch: tokens (B, T) and targets (B, P)."""
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
                "The input contains the answer: each target is in the prompt at the same position "
                "where it is predicted, so the model only learns to copy its input. Targets are "
                "not shifted (with inputs tokens[:-1], they are tokens[1:]), or the answer was "
                "written into the input.",
                "certain",
            )
        ]
    cause, certainty = _why(patient, tokens, answers, right / total)
    return [
        Finding(
            "the targets are not the next tokens",
            evidence,
            f"{cause} The target at position p must be the token at p + 1.",
            certainty,
        )
    ]


def _why(patient: Patient, tokens: Tensor, answers: Tensor, right: float) -> tuple[str, Certainty]:
    """Why targets are not the next tokens, and how sure that is."""
    counted = answers[answers != IGNORED]
    if (counted == counted[0]).all():
        return f"The target is always the same token, {int(counted[0])}.", "certain"
    usual = torch.full_like(tokens, IGNORED)  # (B, T): next tokens, by position
    usual[:, :-1] = tokens[:, 1:]
    following = usual[:, patient.predicted]
    for shift in range(1, min(5, answers.shape[1])):
        for sign in (1, -1):
            moved = answers.roll(sign * shift, 1)[:, shift:-shift]
            wanted = following[:, shift:-shift]
            known = (wanted != IGNORED) & (moved != IGNORED)
            if known.any() and bool((moved == wanted)[known].all()):
                places = "one position" if shift == 1 else f"{shift} positions"
                return f"The targets are shifted by {places} (off by a roll or slice).", "certain"
    known = (following != IGNORED) & (answers.flip(1) != IGNORED)
    if known.any() and bool((answers.flip(1) == following)[known].all()):
        return "The targets are reversed.", "certain"
    if right < 2 / len(set(counted.tolist())):
        return (
            "The targets do not depend on the input more than chance would give: they are random, "
            "or belong to other samples (tokens and targets are drawn or shuffled separately).",
            "likely",
        )
    return (
        "Targets are shifted by more than one or in the wrong direction, or belong to other "
        "samples.",
        "possible",
    )
