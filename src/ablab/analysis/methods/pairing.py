"""Other samples to compare with: partners of the same class."""

import numpy as np
from numpy.typing import NDArray

from ablab.analysis.methods.samples import Samples


def target_classes(samples: Samples) -> NDArray[np.int64]:
    """The number of the class of samples with the same targets, (N,)."""
    targets = samples.targets.numpy()
    classes: NDArray[np.int64] = np.unique(targets, axis=0, return_inverse=True)[1].ravel()
    return classes


def partners(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each sample another one of its class, (N,); -1 if there is no other one.

    Each sample is the partner of one sample: those of a class are put in a random circle.
    """
    shuffled = rng.permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    sizes = np.bincount(classes)
    ends = np.cumsum(sizes)[classes[order]]
    following = np.arange(1, len(order) + 1)
    following = np.where(following < ends, following, ends - sizes[classes[order]])
    found = np.empty_like(order)
    found[order] = order[following]
    return np.where(sizes[classes] > 1, found, -1)
