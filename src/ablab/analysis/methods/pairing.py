"""Other samples to compare with: partners of the same class."""

import numpy as np
from numpy.typing import NDArray

from ablab.analysis.methods.samples import Samples


def target_classes(samples: Samples) -> NDArray[np.int64]:
    """The number of the class of samples with the same targets, (N,)."""
    targets = samples.targets.numpy()
    classes: NDArray[np.int64] = np.unique(targets, axis=0, return_inverse=True)[1].ravel()
    return classes


def partners(
    classes: NDArray[np.int64], weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each sample another one of its class, (N,); -1 if there is no other one.

    Samples with equal weights are each the partner of one sample: those of a class are put in a
    random circle. Otherwise they are drawn with probabilities in proportion to their weights.

    Args:
        classes: The class of each sample, (N,).
        weights: The weights of the samples, (N,), positive.
        rng: Draws the partners.
    """
    if (weights == weights[0]).all():
        return _in_circles(classes, rng)
    order = np.argsort(classes, kind="stable")
    sizes = np.bincount(classes)
    ends = np.cumsum(sizes)[classes[order]]
    firsts = ends - sizes[classes[order]]
    own = weights[order]
    sums = np.cumsum(own)
    begin = (sums - own)[firsts]
    drawn = begin + rng.random(len(own)) * (sums[ends - 1] - begin - own)
    drawn += np.where(drawn >= sums - own, own, 0)  # over the sample itself
    places = np.clip(np.searchsorted(sums, drawn, side="right"), firsts, ends - 1)
    itself = places == np.arange(len(own))  # by rounding
    places = np.where(itself, np.where(places + 1 < ends, places + 1, firsts), places)
    found = np.empty_like(order)
    found[order] = order[places]
    return np.where(sizes[classes] > 1, found, -1)


def _in_circles(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    shuffled = rng.permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    sizes = np.bincount(classes)
    ends = np.cumsum(sizes)[classes[order]]
    following = np.arange(1, len(order) + 1)
    following = np.where(following < ends, following, ends - sizes[classes[order]])
    found = np.empty_like(order)
    found[order] = order[following]
    return np.where(sizes[classes] > 1, found, -1)
