"""The share of exact zeros."""

from torch import Tensor

from ablab.watching.reducer import Place, Rows, reducer


def _can_have_zeros(place: Place) -> bool:
    return place.name != "model" and place.has_zeros


@reducer("frac_zero", "rows", applies=_can_have_zeros)
def frac_zero(rows: Rows) -> Tensor:
    """The share of entries that are exactly 0.

    Of a model's known sites it is taken where zeros are made: patterns, MLPs' hidden layers, what
    dropout has passed, logits; and of everything else, gradients and parameters say.
    """
    return rows.zeros
