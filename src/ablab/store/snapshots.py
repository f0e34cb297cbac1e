"""Snapshots: a run's parameters after a step, as safetensors.

A file holds every parameter by its name in the model, and where it serves a resume the optimizer's
state as ``optimizer/STATE/PARAMETER``, or as ``optimizer/STATE`` where it is not like the
parameters. Its metadata says which run and step it is. Of a run that may
go back to its best state, it holds that too, as ``best/…``, and what else recovery remembers in the
metadata.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ablab.config import Problem
from ablab.store.files import write_atomically
from ablab.store.index import StoreError
from ablab.store.store import Store
from ablab.train.optimizer import like_parameters
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.recovery import RecoveryState, SavedState
from ablab.train.stack import RunState

_SLOT = "optimizer"
_BEST, _LATEST = "best", "latest"


def snapshot_path(store: Store, run: str, step: int) -> Path:
    """Where a snapshot stands."""
    return store.path / "snapshots" / run / f"{step}.safetensors"


def write_snapshot(
    store: Store, run: str, state: RunState, layout: ParameterLayout, with_optimizer: bool
) -> int:
    """Writes a snapshot and returns its size in bytes. The index is left alone."""
    metadata = {"run": run, "step": str(state.step), "ablab": "1"}
    tensors = _named(layout, state.theta)
    if with_optimizer:
        tensors |= _state_named(layout, state.theta, state.optimizer_state)
        if not state.optimizer_state:  # which otherwise shows by its tensors
            metadata["optimizer"] = "1"
    recovery = state.recovery
    if with_optimizer and recovery is not None:
        for place, kept in ((_BEST, recovery.best), (_LATEST, recovery.latest)):
            state_named = _state_named(layout, kept.theta, kept.optimizer_state)
            named = _named(layout, kept.theta) | state_named
            tensors |= {f"{place}/{name}": tensor for name, tensor in named.items()}
            metadata[f"{place}_step"] = str(kept.step)
        metadata |= {
            "best_loss": recovery.best_loss.hex(),  # to the last bit
            "restarts": str(recovery.restarts),
            "interval": recovery.interval.hex(),
        }
    return write_atomically(
        snapshot_path(store, run, state.step), lambda path: save_file(tensors, path, metadata)
    )


def read_parameters(store: Store, run: str, step: int) -> dict[str, Tensor]:
    """The parameters of a snapshot, by name.

    Raises:
        StoreError: It is missing or damaged.
    """
    tensors, _ = _read(snapshot_path(store, run, step))
    inner = (f"{_SLOT}/", f"{_BEST}/", f"{_LATEST}/")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(inner)}


def read_state(
    store: Store, run: str, step: int, layout: ParameterLayout, optimizer_state: Sequence[str]
) -> RunState:
    """A run's whole state from a snapshot that holds the optimizer state.

    Raises:
        StoreError: It is missing or damaged, or holds other tensors than the layout.
    """
    path = snapshot_path(store, run, step)
    tensors, metadata = _read(path)
    try:
        theta, rows = _rows(tensors, layout, optimizer_state, "")
        recovery = None
        if f"{_BEST}_step" in metadata:
            best, latest = (
                SavedState(
                    int(metadata[f"{place}_step"]),
                    *_rows(tensors, layout, optimizer_state, f"{place}/"),
                )
                for place in (_BEST, _LATEST)
            )
            recovery = RecoveryState(
                best,
                float.fromhex(metadata["best_loss"]),
                latest,
                int(metadata["restarts"]),
                float.fromhex(metadata["interval"]),
            )
    except KeyError as error:
        raise StoreError(Problem(f"the snapshot lacks {error}", given=str(path))) from error
    return RunState(step, theta, rows, recovery)


def _rows(
    tensors: dict[str, Tensor], layout: ParameterLayout, optimizer_state: Sequence[str], prefix: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters as a flat row and optimizer state, from the names with a prefix."""

    def row(inner: str) -> Tensor:
        return torch.cat([tensors[f"{prefix}{inner}{name}"].reshape(-1) for name in layout.names])

    def state(name: str) -> Tensor:
        full = f"{prefix}{_SLOT}/{name}"
        return tensors[full] if full in tensors else row(f"{_SLOT}/{name}/")

    return row(""), {name: state(name) for name in optimizer_state}


def check_snapshot(path: Path, size: int, has_optimizer: bool) -> None:
    """Reads a snapshot's header and checks it against what the index says.

    Raises:
        StoreError: It is missing or damaged, or not the file that was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names, metadata = list(file.keys()), file.metadata() or {}
        own = (metadata.get("run"), metadata.get("step")) == (path.parent.name, path.stem)
        if (
            not own
            or path.stat().st_size != size
            or has_optimizer != ("optimizer" in metadata or any("/" in name for name in names))
        ):
            raise StoreError(Problem("a snapshot is not the one that was kept", given=str(path)))
    except (SafetensorError, OSError) as error:
        raise StoreError(Problem(f"damaged snapshot ({error})", given=str(path))) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise StoreError(
            Problem(
                f"a snapshot is missing or damaged ({error})",
                given=str(path),
                expected="a whole safetensors file; ablab check lists what is damaged",
            )
        ) from error


def _named(layout: ParameterLayout, row: Tensor) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, so each is copied.
    return {name: view[0].clone() for name, view in layout.views(row[None]).items()}


def _state_named(
    layout: ParameterLayout, theta: Tensor, optimizer_state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The optimizer's state; what is like the parameters goes by their names."""
    rows = like_parameters(optimizer_state, theta)
    named = {
        f"{_SLOT}/{slot}/{name}": tensor
        for slot, row in rows.items()
        for name, tensor in _named(layout, row).items()
    }
    others = {name: tensor for name, tensor in optimizer_state.items() if name not in rows}
    return named | {f"{_SLOT}/{name}": tensor.clone() for name, tensor in others.items()}
