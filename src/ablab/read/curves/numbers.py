"""Numbers as text."""

import math


def number(value: float) -> str:
    """A value with three significant digits, or two if it is very small or large."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    if 1e-3 <= abs(rounded) < 1e5:
        return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"
