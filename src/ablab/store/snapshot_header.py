"""Checks the header of a snapshot, without importing torch."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from ablab.config import Problem
from ablab.store.index import StoreError


def check_snapshot(path: Path, size: int, has_optimizer: bool) -> None:
    """Reads a snapshot's header and compares it with the index entry.

    Raises:
        StoreError: The snapshot is missing or damaged, or differs from its index entry.
    """
    try:
        with safe_open(path, framework="np") as file:
            names, metadata = list(file.keys()), file.metadata() or {}
        own = (metadata.get("run"), metadata.get("step")) == (path.parent.name, path.stem)
        if (
            not own
            or path.stat().st_size != size
            or has_optimizer != ("optimizer" in metadata or any("/" in name for name in names))
        ):
            raise StoreError(Problem("a snapshot is not the one in the index", given=str(path)))
    except (SafetensorError, OSError) as error:
        raise StoreError(Problem(f"damaged snapshot ({error})", given=str(path))) from error
