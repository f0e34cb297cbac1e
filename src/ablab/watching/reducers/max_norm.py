"""The largest Euclidean norm of a tensor's rows."""

from torch import Tensor

from ablab.watching.reducer import Place, Rows, reducer


def _has_rows(place: Place) -> bool:
    return place.name != "model" and not place.is_vector


@reducer("max_norm", "rows", applies=_has_rows)
def max_norm(rows: Rows) -> Tensor:
    """Max ‖row‖₂ over all rows. No column for a vector, where it would equal ``mean_norm``."""
    return rows.max_norm
