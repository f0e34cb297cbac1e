"""Snapshots: a run's parameters after a step, as safetensors.

A file holds every parameter by its name in the model, and where it serves a resume the optimizer's
state as ``optimizer/SLOT/PARAMETER``. Its metadata says which run and step it is.
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
from ablab.train.layout import Layout
from ablab.train.stack import RunState

_SLOT = "optimizer"


def snapshot_path(store: Store, run: str, step: int) -> Path:
    """Where a snapshot stands."""
    return store.path / "snapshots" / run / f"{step}.safetensors"


def write_snapshot(
    store: Store, run: str, state: RunState, layout: Layout, with_optimizer: bool
) -> int:
    """Writes a snapshot and returns its size in bytes. The index is left alone."""
    tensors = _named(layout, state.theta)
    if with_optimizer:
        for slot, row in state.slots.items():
            named = _named(layout, row)
            tensors |= {f"{_SLOT}/{slot}/{name}": tensor for name, tensor in named.items()}
    metadata = {"run": run, "step": str(state.step), "ablab": "1"}
    return write_atomically(
        snapshot_path(store, run, state.step), lambda path: save_file(tensors, path, metadata)
    )


def read_parameters(store: Store, run: str, step: int) -> dict[str, Tensor]:
    """The parameters of a snapshot, by name.

    Raises:
        StoreError: It is missing or damaged.
    """
    tensors = _read(snapshot_path(store, run, step))
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{_SLOT}/")}


def read_state(store: Store, run: str, step: int, layout: Layout, slots: Sequence[str]) -> RunState:
    """A run's whole state from a snapshot that holds the optimizer's slots.

    Raises:
        StoreError: It is missing or damaged, or holds other tensors than the layout.
    """
    path = snapshot_path(store, run, step)
    tensors = _read(path)
    try:
        theta = torch.cat([tensors[name].reshape(-1) for name in layout.names])
        rows = {
            slot: torch.cat(
                [tensors[f"{_SLOT}/{slot}/{name}"].reshape(-1) for name in layout.names]
            )
            for slot in slots
        }
    except KeyError as error:
        raise StoreError(
            Problem(f"the snapshot lacks the tensor {error}", given=str(path))
        ) from error
    return RunState(step, theta, rows)


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
            or has_optimizer != any("/" in name for name in names)
        ):
            raise StoreError(Problem("a snapshot is not the one that was kept", given=str(path)))
    except (SafetensorError, OSError) as error:
        raise StoreError(Problem(f"damaged snapshot ({error})", given=str(path))) from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise StoreError(
            Problem(
                f"a snapshot is missing or damaged ({error})",
                given=str(path),
                expected="a whole safetensors file; ablab check lists what is damaged",
            )
        ) from error


def _named(layout: Layout, row: Tensor) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, so each is copied.
    return {name: view[0].clone() for name, view in layout.views(row[None]).items()}
