"""The size of an update beside what it updates."""

from torch import Tensor

from ablab.watching.reducer import Products, ratio, reducer


@reducer("update_ratio", "update", families=("param",), applies=lambda place: True)
def update_ratio(products: Products) -> Tensor:
    """‖θ_s - θ_{s-1}‖ / ‖θ_{s-1}‖: update s, decay and all, over the parameter before it.

    NaN for a parameter that was zero. ``param/model/update_ratio`` is that of all parameters.
    """
    return ratio(products.change.sqrt(), products.before.sqrt())
