"""The standard deviation of all entries, with n in the denominator."""

from torch import Tensor

from ablab.watching.reducer import Rows, reducer


@reducer("std", "rows")
def std(rows: Rows) -> Tensor:
    """√(Σ (x - mean)² / n) over all n entries.

    Beyond vectors it is worked out from the mean and the mean square, so where it is less than a
    thousandth of their mean's size it is no more than rounding.
    """
    return rows.std
