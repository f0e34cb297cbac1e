"""Is held-out data held out?"""

import numpy as np

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.messages import share
from ablab.doctor.patient import Patient
from ablab.tasks.base import Batch

_TRAINED = 20_000
_HELD_OUT = 2_000
_MOST = 0.1
_LONG = 32  # tokens; samples this long do not repeat by chance


@check("split", "task", "held-out samples are not trained on")
def split(patient: Patient) -> list[Finding]:
    """Looks for held-out samples among 20,000 training samples, or one epoch if that is shorter.

    If only part of an epoch is searched and samples are too long to repeat by chance, the number
    found is extrapolated to the whole epoch.
    """
    held_out = _rows(patient.task.held_out(_HELD_OUT))
    if not held_out:
        raise NotApplicable("the task has no held-out samples")
    epoch = patient.run.task.train_size
    wanted = _TRAINED if epoch is None else min(_TRAINED, epoch)
    samples = min(wanted, patient.run.train.batch_size)
    steps = -(-wanted // samples)
    met, seed = [], patient.run.seed
    for seed in (patient.run.seed, patient.run.seed + 1):  # a split may depend on the seed
        trained = set(_rows(patient.task.draw(seed, 1, steps, samples)))
        met = [number for number, row in enumerate(held_out) if row in trained]
        if len(met) > _MOST * len(held_out):
            break
    part, seen = len(met) / len(held_out), 1.0
    if epoch is not None and patient.run.task.input_length >= _LONG and len(met) >= 5:
        seen = min(1.0, steps * samples / epoch)
    if part / seen <= _MOST:
        return []
    evidence = (
        f"{share(len(met), len(held_out))} held-out samples are among {steps * samples:,} training "
        f"samples of seed {seed}"
    )
    if seen < 1:
        evidence += f", which is {100 * seen:.3g}% of an epoch"
    example = patient.task.held_out(_HELD_OUT).tokens[met[0]]
    own = patient.run.seed
    by_seed = (
        f"The split depends on the seed of the run: seed {own} holds them out, and seed {seed} "
        "trains on them. "
    )
    by_seed = "" if seed == own else by_seed
    return [
        Finding(
            "held-out samples are trained on",
            f"{evidence}; for example {patient.task.text(example)!r}",
            f"{by_seed}There is no split, it is made after sampling with replacement, or "
            "evaluation draws from the training data; or there are so few distinct samples that "
            "training sees them all. Assign each sample to a side by a hash of its content.",
        )
    ]


def _rows(batch: Batch) -> list[bytes]:
    """Each sample's tokens and targets as bytes."""
    tokens, targets = batch.tokens, batch.targets
    rows = np.concatenate([tokens, targets], axis=-1, dtype=np.int64)
    return [row.tobytes() for row in rows.reshape(-1, rows.shape[-1])]
