"""The files of snapshots: their paths, and whether their headers are right; without torch."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from ablab.config import Problem
from ablab.store.index import StoreError
from ablab.store.paths import run_snapshot_path
from ablab.store.store import Store


def snapshot_path(store: Store, run: str, step: int) -> Path:
    """The path of a snapshot.

    Raises:
        StoreError: The index is damaged, or something on the way is a link.
    """
    return run_snapshot_path(store.path, run, step)


def check_snapshot(path: Path, size: int, has_optimizer: bool) -> None:
    """Reads a snapshot's header and compares it with the index entry.

    Raises:
        StoreError: The snapshot is missing or damaged, or differs from its index entry.
    """
    try:
        metadata, found = _header(path)
        own = (metadata.get("run"), metadata.get("step")) == (path.parent.name, path.stem)
        if not own or path.stat().st_size != size or has_optimizer != found:
            raise StoreError(Problem("a snapshot is not the one in the index", given=str(path)))
    except (SafetensorError, OSError) as error:
        raise StoreError(Problem(f"damaged snapshot ({error})", given=str(path))) from error


def snapshot_has_optimizer(path: Path) -> bool:
    """Whether a sound snapshot also has the optimizer's state."""
    return _header(path)[1]


def _header(path: Path) -> tuple[dict[str, str], bool]:
    """The metadata of a snapshot, and whether it has the optimizer's state."""
    with safe_open(path, framework="np") as file:
        names, metadata = list(file.keys()), file.metadata() or {}
    return metadata, "optimizer" in metadata or any("/" in name for name in names)
