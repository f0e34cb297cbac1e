"""The norm of an update relative to the norm of the parameter."""

from torch import Tensor

from ablab.watching.reducer import Products, ratio, reducer


@reducer("update_ratio", "update", families=("param",), applies=lambda place: True)
def update_ratio(products: Products) -> Tensor:
    """‖θ_s - θ_{s-1}‖ / ‖θ_{s-1}‖: update s, including weight decay, over the parameter before it.

    NaN for a parameter that was zero. ``param/model/update_ratio`` covers all parameters together.
    """
    return ratio(products.change.sqrt(), products.before.sqrt())
