"""The effective rank: the number of directions that a matrix uses."""

import torch
from torch import Tensor

from ablab.watching.reducer import Place, ratio, reducer


def _is_matrix(place: Place) -> bool:
    if place.family == "activation":
        return place.name.rpartition(".")[2] == "resid_post"
    return len(place.shape) == 2


@reducer("effective_rank", "matrices", families=("activation", "param", "grad"), applies=_is_matrix)
def effective_rank(x: Tensor) -> Tensor:
    """(Σ σ²)² / Σ σ⁴ over the singular values σ; from 1 to the rank, and the rank if all are equal.

    This is R₀ of XᵀX in Bartlett et al., "Benign overfitting in linear regression" (2020), also
    known as the participation ratio. It is computed without singular values, as
    ‖X‖_F⁴ / ‖XᵀX‖_F². It applies to matrices among parameters and gradients, and to the residual
    stream after each block, with one row per token of the batch, not centred.
    """
    # Fourth powers of small entries would underflow to zero.
    axes = (-2, -1)
    largest = torch.maximum(x.amax(axes, keepdim=True), -x.amin(axes, keepdim=True))
    x = x / largest.clamp(min=torch.finfo(x.dtype).tiny)
    short = x if x.shape[-2] >= x.shape[-1] else x.mT
    gram = short.mT @ short
    squares = gram.diagonal(0, -2, -1).sum(-1)
    return ratio(squares, gram.square().sum(axes) / squares)
