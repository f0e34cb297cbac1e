"""The mean of all entries."""

from torch import Tensor

from ablab.watching.reducer import Rows, reducer


@reducer("mean", "rows")
def mean(rows: Rows) -> Tensor:
    """Σ x / n over all n entries."""
    return rows.mean
