"""The standard deviation of all entries, with n in the denominator."""

from torch import Tensor

from ablab.watching.reducer import Rows, reducer


@reducer("std", "rows")
def std(rows: Rows) -> Tensor:
    """√(Σ (x - mean)² / n) over all n entries.

    Except for vectors, it is computed from the mean and the mean square. So a value below a
    thousandth of the mean's absolute value is only rounding error.
    """
    return rows.std
