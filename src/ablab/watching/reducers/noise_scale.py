"""The gradient noise scale: at which batch size noise and signal of a gradient are alike."""

from torch import Tensor

from ablab.watching.reducer import Products, ratio, reducer


@reducer("noise_scale", "gradients", families=("grad",), applies=lambda place: True)
def noise_scale(products: Products) -> Tensor:
    """tr(Σ) / |G|² in samples: B_simple of McCandlish et al. (2018, arXiv 1812.06162).

    Estimated from the gradients of two steps in a row, which are two batches at nearly the same
    parameters: tr(Σ) = B |g_s - g_{s-1}|² / 2 and |G|² = g_s · g_{s-1}. A single value is noisy,
    and negative where the two gradients point apart; average it over steps. Not known where
    ``cosine_previous`` is not. ``grad/model/noise_scale`` is that of all parameters.
    """
    apart = products.own + products.previous - 2 * products.dot
    return ratio(0.5 * products.samples * apart, products.dot)
