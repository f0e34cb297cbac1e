"""Snapshots: a run's parameters after a step, as safetensors.

Each is a file of its own, or a part of a bundle with the same bytes
(:mod:`ablab.store.bundles`). It holds every parameter under its name in the model. A snapshot from
which training can resume also holds the optimizer state, as ``optimizer/SLOT/PARAMETER``, or as
``optimizer/SLOT`` if it does not have the shape of the parameters. The metadata holds the run and
the step. If a run may restart from its best state, the snapshot also holds that state as ``best/…``
and the latest one as ``latest/…``; the rest of the recovery state is in the metadata.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from ablab.config import Problem
from ablab.store.bundles import bundled_content, place_in_bundle
from ablab.store.digests import Written, content_damage, damage, digests_of, write_digested
from ablab.store.index import StoreError
from ablab.store.parts import REPAIR
from ablab.store.snapshot_files import snapshot_path
from ablab.store.store import Store
from ablab.train.optimizer import like_parameters
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.recovery import RecoveryState, SavedState
from ablab.train.run_state import RunState

_SLOT = "optimizer"
_BEST, _LATEST = "best", "latest"


def write_snapshot(
    store: Store, run: str, state: RunState, layout: ParameterLayout, with_optimizer: bool
) -> Written:
    """Writes a snapshot. Does not list it in the index."""
    metadata = {"run": run, "step": str(state.step), "ablab": "1"}
    tensors = _named(layout, state.theta)
    if with_optimizer:
        tensors |= _state_named(layout, state.theta, state.optimizer_state)
        if not state.optimizer_state:  # otherwise its tensors show that the snapshot has it
            metadata["optimizer"] = "1"
    recovery = state.recovery
    if with_optimizer and recovery is not None:
        for place, saved in ((_BEST, recovery.best), (_LATEST, recovery.latest)):
            state_named = _state_named(layout, saved.theta, saved.optimizer_state)
            named = _named(layout, saved.theta) | state_named
            tensors |= {f"{place}/{name}": tensor for name, tensor in named.items()}
            metadata[f"{place}_step"] = str(saved.step)
        metadata |= {
            "best_loss": recovery.best_loss.hex(),  # exact
            "restarts": str(recovery.restarts),
            "interval": recovery.interval.hex(),
        }
    path = snapshot_path(store, run, state.step)
    return write_digested(store, path, lambda to: save_file(tensors, to, metadata))


def read_parameters(store: Store, run: str, step: int) -> dict[str, Tensor]:
    """The parameters of a snapshot, by name.

    Raises:
        StoreError: The snapshot is missing or damaged.
    """
    return _read(store, run, step, without=(f"{_SLOT}/", f"{_BEST}/", f"{_LATEST}/"))[0]


def read_state(
    store: Store, run: str, step: int, layout: ParameterLayout, optimizer_state: Sequence[str]
) -> RunState:
    """A run's complete state, from a snapshot with optimizer state.

    Args:
        store: The store.
        run: The run's id.
        step: The snapshot's step.
        layout: The model's parameters; the state's tensors are flat rows (P,) in its order.
        optimizer_state: The names of the optimizer's state tensors.

    Raises:
        StoreError: The snapshot is missing or damaged, or lacks a tensor.
    """
    tensors, metadata = _read(store, run, step)
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
    except (KeyError, ValueError) as error:
        path = snapshot_path(store, run, step)
        raise StoreError(
            Problem(f"the snapshot is damaged: no valid {error}", given=str(path), expected=REPAIR)
        ) from error
    return RunState(step, theta, rows, recovery)


def _rows(
    tensors: dict[str, Tensor], layout: ParameterLayout, optimizer_state: Sequence[str], prefix: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters as a flat row and optimizer state, from the tensors whose names have a prefix."""

    def row(inner: str) -> Tensor:
        return torch.cat([tensors[f"{prefix}{inner}{name}"].reshape(-1) for name in layout.names])

    def state(name: str) -> Tensor:
        full = f"{prefix}{_SLOT}/{name}"
        return tensors[full] if full in tensors else row(f"{_SLOT}/{name}/")

    return row(""), {name: state(name) for name in optimizer_state}


def _read(
    store: Store, run: str, step: int, without: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a snapshot, after its digest was compared.

    Args:
        store: The store.
        run: The run's id.
        step: The snapshot's step.
        without: What the names of tensors begin with that are not read.
    """
    path = snapshot_path(store, run, step)
    known = digests_of(store, path)
    try:
        content = bundled_content(store, run, step)
        try:
            reason = None if content is not None else damage(path, known)
        except FileNotFoundError:  # it was moved to a bundle just now, or is damaged there
            place = place_in_bundle(store, run, step)
            if place is None:
                raise
            path, content = place.path, place.read()
            reason = content_damage(content, known)
        if reason is None:
            tensors, metadata = (
                _of_file(path, without) if content is None else _of_content(content, without)
            )
        if reason is None:
            if _is_of(metadata, run, step):
                return tensors, metadata
            reason = "it is another run's or another step's"
    except (SafetensorError, OSError) as error:
        reason = str(error)
    raise StoreError(
        Problem(
            f"the snapshot of run {run} at step {step} is missing or damaged ({reason})",
            given=str(path),
            expected=REPAIR,
        )
    )


def _of_file(path: Path, without: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if not name.startswith(without)]  # noqa: SIM118
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def _of_content(
    content: bytes, without: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As :func:`_of_file`, from the bytes of a file."""
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")  # of the header, which is JSON
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return {n: tensor for n, tensor in tensors.items() if not n.startswith(without)}, metadata


def _is_of(metadata: dict[str, str], run: str, step: int) -> bool:
    return (metadata.get("run"), metadata.get("step")) == (run, str(step))


def _named(layout: ParameterLayout, row: Tensor) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, so each is copied.
    return {name: view[0].clone() for name, view in layout.views(row[None]).items()}


def _state_named(
    layout: ParameterLayout, theta: Tensor, optimizer_state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The optimizer state by its names in a snapshot."""
    rows = like_parameters(optimizer_state, theta)
    named = {
        f"{_SLOT}/{slot}/{name}": tensor
        for slot, row in rows.items()
        for name, tensor in _named(layout, row).items()
    }
    others = {name: tensor for name, tensor in optimizer_state.items() if name not in rows}
    return named | {f"{_SLOT}/{name}": tensor.clone() for name, tensor in others.items()}
