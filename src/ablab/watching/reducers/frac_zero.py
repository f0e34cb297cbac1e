"""The fraction of exact zeros."""

from torch import Tensor

from ablab.watching.reducer import Place, Rows, reducer


def _can_have_zeros(place: Place) -> bool:
    return place.name != "model" and place.has_zeros


@reducer("frac_zero", "rows", applies=_can_have_zeros)
def frac_zero(rows: Rows) -> Tensor:
    """The fraction of entries that are exactly 0.

    Among a model's known sites, only those where zeros occur have this column: attention patterns,
    hidden layers of MLPs, outputs of dropout, and logits. All other tensors have it, such as
    gradients and parameters.
    """
    return rows.zeros
