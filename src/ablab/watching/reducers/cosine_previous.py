"""The cosine between the gradients of two successive steps."""

from torch import Tensor

from ablab.watching.reducer import Products, ratio, reducer


@reducer("cosine_previous", "gradients", families=("grad",), applies=lambda place: True)
def cosine_previous(products: Products) -> Tensor:
    """g_s · g_{s-1} / (‖g_s‖ ‖g_{s-1}‖), in [-1, 1].

    NaN at the first step, at the first step after a run was resumed, and where a gradient is zero.
    ``grad/model/cosine_previous`` covers all parameters together.
    """
    return ratio(products.dot, products.own.sqrt() * products.previous.sqrt())
