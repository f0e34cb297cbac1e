"""The root mean square of all entries."""

from torch import Tensor

from ablab.watching.reducer import Rows, reducer


@reducer("rms", "rows")
def rms(rows: Rows) -> Tensor:
    """√(Σ x² / n) over all n entries."""
    return rows.rms
