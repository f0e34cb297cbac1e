"""The mean of each level of a setting, corrected for missing runs."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ablab.read.effects.results import Array

_DENSE = 1_000_000
"""The most elements of a matrix of runs and constants; a larger one takes seconds to solve."""
_SINGULAR = 1e-10  # relative; what rounding leaves of a singular value of 0 is smaller


def level_means(values: Array) -> Array:
    """The mean of each level, corrected for missing runs, (levels,).

    Least squares with a constant for each cell and seed; plain means if no run is missing. If runs
    are missing such that a level has no cell and seed in common with others, not even through
    further levels, the solution of least norm is used.

    Args:
        values: The values, (levels, cells, seeds), with NaN for missing ones.
    """
    level, cell, seed = np.nonzero(np.isfinite(values))
    found, block = np.unique(cell * values.shape[2] + seed, return_inverse=True)
    columns = len(values) + len(found)
    if len(level) * columns > _DENSE:
        solved = _eliminated(values.reshape(len(values), -1)[:, found])
    else:
        design = np.zeros((len(level), columns))
        design[np.arange(len(level)), level] = 1.0
        design[np.arange(len(level)), len(values) + block] = 1.0
        solved = np.asarray(np.linalg.lstsq(design, values[level, cell, seed], rcond=None)[0])
    return np.asarray(solved[: len(values)] + solved[len(values) :].mean())


def _eliminated(values: Array) -> Array:
    """The constants of levels and blocks, by elimination of the blocks, which are many.

    Args:
        values: The values, (levels, blocks); each block has one.
    """
    levels = len(values)
    there = np.isfinite(values)
    counts = there.astype(np.float64)
    known = np.where(there, values, 0.0)
    per_block = counts.sum(axis=0)
    shares = counts / per_block  # of a level in a block
    left = np.diag(counts.sum(axis=1)) - shares @ counts.T
    right = known.sum(axis=1) - shares @ known.sum(axis=0)
    of_levels = np.linalg.lstsq(left, right, rcond=_SINGULAR)[0]
    of_blocks = (known.sum(axis=0) - counts.T @ of_levels) / per_block
    solved = np.concatenate([of_levels, of_blocks])
    # In a connected part, the constants of levels can be raised if those of blocks are lowered.
    level, block = np.nonzero(there)
    graph = coo_array((np.ones(len(level)), (level, levels + block)), shape=2 * (len(solved),))
    parts, part = connected_components(graph, directed=False)
    sign = np.where(np.arange(len(solved)) < levels, 1.0, -1.0)
    free = np.bincount(part, sign * solved, parts) / np.bincount(part, minlength=parts)
    return np.asarray(solved - sign * free[part])
