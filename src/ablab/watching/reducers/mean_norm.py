"""The mean Euclidean norm of a tensor's rows (its last axis), such as token vectors or queries."""

from torch import Tensor

from ablab.watching.reducer import Rows, reducer


@reducer("mean_norm", "rows")
def mean_norm(rows: Rows) -> Tensor:
    """Mean over all rows of ‖row‖₂; for a vector, its norm."""
    return rows.mean_norm
