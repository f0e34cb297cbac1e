"""Are batches a function of seed and step, and do they differ?"""

import numpy as np
from numpy.typing import NDArray

from ablab.doctor.check import Finding, check
from ablab.doctor.messages import listed
from ablab.doctor.patient import Patient
from ablab.tasks.base import Batch
from ablab.tasks.config import IGNORED

_SAMPLES = 32
_STEPS, _LARGE = 8, 256
_ALIKE = 0.3  # share of samples that seeds may have in common by chance, as of few samples
_OFTEN = 30  # occurrences; a token that is as frequent as the others is then not missed by chance
_PURE = "Draw from counter-based random numbers of (seed, step), as ablab.tasks.random does."


@check("batches", "task", "batches are a function of seed and step, and differ between them")
def batches(patient: Patient) -> list[Finding]:
    """Draws the same steps twice, in other chunks, and for other steps and seeds."""
    seed, epoch = patient.run.seed, patient.run.task.train_size
    size = min(_SAMPLES, epoch or _SAMPLES)
    draw = patient.task.draw
    three = draw(seed, 1, 3, size)
    found = _sizes(patient, three)
    if found:
        return found
    if not _same(three, draw(seed, 1, 3, size)):
        return [
            _finding(
                "drawing the same batches again gives other ones",
                f"seed {seed}, steps 1 to 3 differ from call to call",
                f"A draw depends on state (what was drawn before), or on the clock. {_PURE}",
            )
        ]
    findings = _held_out(patient)
    second = _step(draw(seed, 2, 1, size), 0)
    whole_epoch = epoch is not None and size >= epoch
    if _same(_step(three, 0), _step(three, 1)) and not whole_epoch:
        findings.append(
            _finding(
                "every step has the same batch",
                "steps 1 and 2 are equal",
                f"The step is ignored: the generator is made anew for each step. {_PURE}",
            )
        )
    elif not _same(_step(three, 1), second):
        findings.append(
            _finding(
                "a batch depends on how many steps are drawn at once",
                f"seed {seed}: step 2 drawn with steps 1 and 3 differs from step 2 drawn alone",
                "The generator is seeded once per chunk (by first_step), so a resumed run sees "
                f"other batches. {_PURE}",
            )
        )
    elif not whole_epoch:
        findings += _seeds(patient, three, size)
    return findings + (_varied(patient, _step(three, 0)) or _never_drawn(patient))


def _seeds(patient: Patient, three: Batch, size: int) -> list[Finding]:
    seed = patient.run.seed
    next_seed = patient.task.draw(seed + 1, 1, 3, size)
    if _same(three, next_seed):
        return [
            _finding(
                "the seed has no effect on batches",
                f"seeds {seed} and {seed + 1} have the same batches",
                f"The seed is ignored, so seeds are not independent repetitions. {_PURE}",
            )
        ]
    if _same(_step(three, 1), _step(next_seed, 0)):
        return [
            _finding(
                "seeds share batches",
                f"step 2 of seed {seed} is step 1 of seed {seed + 1}",
                "Seed and step are added, so they collide and seeds are not independent. Combine "
                f"them as a pair: default_rng((seed, step)). {_PURE}",
            )
        ]
    alike, chance = _alike(three, next_seed), _alike(_step(three, 0), _step(three, 1))
    if alike > max(_ALIKE, 3 * chance):
        return [
            _finding(
                "seeds share most of their samples",
                f"{alike:.0%} of the samples of seeds {seed} and {seed + 1} are the same at the "
                f"same place; of two steps of a seed, {chance:.0%}",
                "A part of the draw ignores the seed, so seeds are hardly independent. Give the "
                f"seed to every generator. {_PURE}",
            )
        ]
    return []


def _alike(one: Batch, other: Batch) -> float:
    """The share of samples of two batches that are the same at the same place."""
    equal = (one.tokens == other.tokens).all(axis=-1) & (one.targets == other.targets).all(axis=-1)
    return float(equal.mean())


def _sizes(patient: Patient, batch: Batch) -> list[Finding]:
    """Findings on lengths and tokens that do not match the task's configuration."""
    config, tokens = patient.run.task, batch.tokens
    if tokens.shape[-1] != config.input_length:
        return [
            _finding(
                "the samples do not have the declared length",
                f"{tokens.shape[-1]} tokens; input_length is {config.input_length}",
                "The input length in the task's configuration is wrong, or samples are cut short.",
            )
        ]
    answers = batch.targets[batch.targets != IGNORED]
    values = np.concatenate([tokens.ravel(), answers])
    if values.min() < 0 or values.max() >= config.vocab_size:
        return [
            _finding(
                "tokens are beyond the vocabulary",
                f"tokens from {values.min()} to {values.max()}; vocab_size is {config.vocab_size}",
                "Tokens must be from 0 to vocab_size - 1: the vocabulary of the configuration is "
                "too small, or tokens are shifted.",
            )
        ]
    return []


def _held_out(patient: Patient) -> list[Finding]:
    if _same(patient.task.held_out(_SAMPLES), patient.task.held_out(_SAMPLES)):
        return []
    return [
        _finding(
            "held-out samples differ from call to call",
            f"{_SAMPLES} held-out samples, drawn twice",
            "They are drawn at random at each call, so evaluations cannot be compared. "
            "Draw them from a fixed seed.",
        )
    ]


def _varied(patient: Patient, batch: Batch) -> list[Finding]:
    """Findings on samples or targets of a batch that are all the same."""
    tokens, targets = batch.tokens, batch.targets
    if len(tokens) > 1 and (tokens == tokens[:1]).all() and (targets == targets[:1]).all():
        return [
            _finding(
                "all samples of a batch are the same",
                f"{len(tokens)} identical samples",
                "One sample is drawn and repeated over the batch. Draw each sample separately.",
            )
        ]
    counted: NDArray[np.int64] = targets[targets != IGNORED]
    if counted.size > 1 and (counted == counted[0]).all() and patient.run.task.vocab_size > 1:
        return [
            _finding(
                "the target is always the same token",
                f"all {counted.size} targets of a batch are token {counted[0]}",
                "The targets are constant: they are not filled in, or the wrong column is used.",
            )
        ]
    return []


def _never_drawn(patient: Patient) -> list[Finding]:
    """A finding on tokens of the vocabulary that never occur, though all others occur often."""
    config = patient.run.task
    size = min(_LARGE, config.train_size or _LARGE)
    batch = patient.task.draw(patient.run.seed, 1, _STEPS, size)
    answers = batch.targets[batch.targets != IGNORED]
    counts = np.bincount(np.concatenate([batch.tokens.ravel(), answers]))
    counts = np.pad(counts, (0, config.vocab_size - len(counts)))
    unseen = _unseen(patient, batch)
    if unseen:
        return unseen
    expected = {config.padding, *config.never_drawn}
    never = [int(token) for token in np.flatnonzero(counts == 0) if token not in expected]
    if not never or counts[counts > 0].min() < _OFTEN:
        return []
    return [
        Finding(
            "tokens of the vocabulary never occur",
            f"in {_STEPS * size:,} samples tokens {listed(never)} occur never, and each other one "
            f"at least {int(counts[counts > 0].min())} times; vocab_size is {config.vocab_size}",
            "Tokens are drawn with an upper bound that is too small by one (integers(0, n) gives 0 "
            "to n - 1), or the vocabulary of the configuration is too large, so some tokens are "
            "never drawn and their embeddings stay as they are.",
        )
    ]


def _unseen(patient: Patient, trained: Batch) -> list[Finding]:
    """A finding on tokens that are frequent in held-out inputs and absent in training."""
    held_out = patient.task.held_out(len(trained.tokens) * trained.tokens.shape[1]).tokens
    known = np.unique(trained.tokens)
    tokens, counts = np.unique(held_out, return_counts=True)
    new = [int(t) for t, n in zip(tokens, counts, strict=True) if n >= _OFTEN and t not in known]
    if not new:
        return []
    return [
        _finding(
            "held-out samples contain tokens that training never sees",
            f"tokens {listed(new)} occur in held-out inputs, and in none of "
            f"{trained.tokens[..., 0].size:,} training inputs",
            "Training samples are drawn from other tokens than held-out ones: an upper bound that "
            "is too small by one, or a split by tokens. These tokens are never trained.",
        )
    ]


def _finding(message: str, evidence: str, cause: str) -> Finding:
    return Finding(message, evidence, cause, "certain")


def _step(batch: Batch, number: int) -> Batch:
    return Batch(batch.tokens[number], batch.targets[number])


def _same(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.tokens, other.tokens) and np.array_equal(one.targets, other.targets)
