"""Random words for dropout, counter-based. Axes: K steps, B, N words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.random import Stream, words


def dropout_words(
    seed: int, first_step: int, steps: int, samples: int, sizes: Sequence[int]
) -> NDArray[np.int16]:
    """The random words of dropout, a function of (seed, step) only.

    Args:
        seed: The run's seed.
        first_step: The first step.
        steps: The number of steps (K).
        samples: Samples per batch (B).
        sizes: Words per sample that each mask needs. The words of a step are drawn mask by mask,
            each for the complete batch.

    Returns:
        An array of shape (K, B, N), where N is the sum of the sizes.
    """
    count = samples * sum(sizes)
    raw = words(seed, Stream.DROPOUT, first_step, steps, -(-count // 4))
    flat = np.ascontiguousarray(raw).view("<i2")[:, :count]
    masks, start = [], 0
    for size in sizes:
        masks.append(flat[:, start : start + samples * size].reshape(steps, samples, size))
        start += samples * size
    return np.concatenate(masks, axis=-1)
