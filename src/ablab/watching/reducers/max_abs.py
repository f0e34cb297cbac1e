"""The largest absolute value."""

from torch import Tensor

from ablab.watching.reducer import Rows, reducer


@reducer("max_abs", "rows")
def max_abs(rows: Rows) -> Tensor:
    """Max |x| over all entries."""
    return rows.largest
