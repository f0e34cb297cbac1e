"""Does generation with a cache equal generation without one?"""

import torch

from ablab.doctor.check import Finding, NotApplicable, check
from ablab.doctor.patient import Patient
from ablab.model.generate import Sampling

_TOKENS = 24


@check("cache", "model", "generation with a cache equals generation without, token for token")
def cache(patient: Patient) -> list[Finding]:
    """Continues the first half of two samples with and without a cache, with the same draws."""
    model = patient.shaken()
    if not model.caches:
        raise NotApplicable("the model generates without a cache")
    prompt = patient.batch(2)[0][:, : max(1, patient.run.task.input_length // 2)]
    plain, cached = (
        model.generate(prompt, _TOKENS, Sampling(seed=1), cached=cached) for cached in (False, True)
    )
    if torch.equal(plain, cached):
        return []
    place = int((plain != cached).any(0).nonzero()[0])
    sample = int((plain != cached)[:, place].nonzero()[0])
    return [
        Finding(
            "generation with a cache gives different tokens",
            f"from token {place} on: {cached[sample, place:].tolist()} with the cache, "
            f"{plain[sample, place:].tolist()} without it",
            "Cached keys or values are at wrong positions; positions are counted from the newest "
            "token instead of the first; the mask hides earlier tokens from the new one; or a "
            "later token changes the activations of an earlier one.",
        )
    ]
