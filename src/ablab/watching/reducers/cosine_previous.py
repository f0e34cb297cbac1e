"""Whether a gradient points where the last one did."""

from torch import Tensor

from ablab.watching.reducer import Products, ratio, reducer


@reducer("cosine_previous", "gradients", families=("grad",), applies=lambda place: True)
def cosine_previous(products: Products) -> Tensor:
    """g_s · g_{s-1} / (‖g_s‖ ‖g_{s-1}‖), in [-1, 1].

    Not known at the first step, nor at the first one after a run was taken up again. NaN where a
    gradient is zero. ``grad/model/cosine_previous`` is that of all parameters.
    """
    return ratio(products.dot, products.own.sqrt() * products.previous.sqrt())
