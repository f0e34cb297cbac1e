"""The gradient noise scale: the batch size at which noise and signal of a gradient are equal."""

from torch import Tensor

from ablab.watching.reducer import Products, ratio, reducer


@reducer("noise_scale", "gradients", families=("grad",), applies=lambda place: True)
def noise_scale(products: Products) -> Tensor:
    """tr(Σ) / |G|² in samples: B_simple of McCandlish et al. (2018, arXiv 1812.06162).

    Estimated from the gradients of two successive steps, which are two batches at nearly the same
    parameters: tr(Σ) = B |g_s - g_{s-1}|² / 2 and |G|² = g_s · g_{s-1}. A single value is noisy,
    and it is negative if the angle between the two gradients exceeds 90°; average it over steps.
    NaN where ``cosine_previous`` is NaN. ``grad/model/noise_scale`` covers all parameters together.
    """
    apart = products.own + products.previous - 2 * products.dot
    return ratio(0.5 * products.samples * apart, products.dot)
