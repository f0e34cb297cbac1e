"""Artifacts: files other than metrics and snapshots, namely captured tensors and flight records.

``captures/RUN/STEP.safetensors`` holds tensors by ``family/site-or-parameter``.
``flights/RUN/STEP.safetensors`` holds the parameters from just before an incident, and
``flights/RUN/STEP.parquet`` the statistics of the steps around it.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from safetensors import SafetensorError, safe_open

from ablab.config import Problem
from ablab.store.digests import damage, digests_of, record_digests, write_digested
from ablab.store.index import StoreError
from ablab.store.parquet import DamagedError, read_rows
from ablab.store.parts import REPAIR
from ablab.store.paths import ARTIFACTS, run_artifact_path
from ablab.store.set_aside import set_aside
from ablab.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["capture", "flight"]
_SPARE_BYTES = 256 * 2**20  # disk space left free for metrics and snapshots


@dataclass(frozen=True)
class Artifact:
    """The index entry of an artifact of one run at one step.

    Attributes:
        kind: ``capture`` or ``flight``.
        run: The run's id.
        step: The step after which tensors were captured, or at which the incident happened.
        bytes: The total size of its files.
        about: Further facts about it.
    """

    kind: str
    run: str
    step: int
    bytes: int
    about: dict[str, Any]


def artifact_path(
    store: Store, kind: str, run: str, step: int, suffix: str = "safetensors"
) -> Path:
    """The path of an artifact's file.

    Raises:
        StoreError: The index is damaged, or something on the way is a link.
    """
    return run_artifact_path(store.path, kind, run, step, suffix)


def save_artifact(
    store: Store,
    kind: Kind,
    run: str,
    step: int,
    tensors: "dict[str, Tensor]",
    about: dict[str, Any],
    table: pl.DataFrame | None = None,
) -> int:
    """Saves tensors, and optionally a table with them.

    A capture is merged with tensors captured earlier at the same step. If those are damaged, their
    file is set aside.

    Returns:
        The number of bytes written.

    Raises:
        StoreError: There is not enough disk space.
    """
    from safetensors.torch import save_file  # entries list artifacts without importing torch

    path = artifact_path(store, kind, run, step)
    if kind == "capture" and path.is_file():
        try:
            tensors = read_artifact(store, kind, run, step) | tensors
        except StoreError:
            set_aside(store, path)
    needed = sum(tensor.nbytes for tensor in tensors.values())
    check_space(store.path, needed, f"{ARTIFACTS[kind]} of run {run} at step {step}")
    metadata = {"run": run, "step": str(step), "ablab": "1"}
    own = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    files = [write_digested(store, path, lambda to: save_file(own, to, metadata))]
    if table is not None:
        to = artifact_path(store, kind, run, step, "parquet")
        files.append(
            write_digested(store, to, lambda path: table.write_parquet(path, compression="zstd"))
        )
    size = sum(each.bytes for each in files)
    with store.index.transaction() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?)",
            (kind, run, step, size, json.dumps(about)),
        )
        record_digests(connection, store, files)
    return size


def list_artifacts(store: Store, kind: Kind, run: str) -> list[Artifact]:
    """The artifacts of a run, ordered by step."""
    rows = store.index.rows(
        "SELECT * FROM kept WHERE kind = ? AND run = ? ORDER BY step", kind, run
    )
    return [
        Artifact(row["kind"], row["run"], row["step"], row["bytes"], _facts(store, row["about"]))
        for row in rows
    ]


def read_artifact(store: Store, kind: Kind, run: str, step: int) -> "dict[str, Tensor]":
    """The tensors of an artifact, by name.

    Raises:
        StoreError: The artifact does not exist or is damaged.
    """
    path = artifact_path(store, kind, run, step)
    try:
        reason = damage(path, digests_of(store, path))
        if reason is None:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        steps = [str(each.step) for each in list_artifacts(store, kind, run)]
        raise StoreError(
            Problem(
                f"run {run} has no {kind} at step {step}",
                given=step,
                expected="one of " + ", ".join(steps) if steps else f"a run with a {kind}",
            )
        ) from error
    except (SafetensorError, OSError) as error:
        reason = str(error)
    raise StoreError(
        Problem(
            f"the {kind} of run {run} at step {step} is damaged ({reason})",
            given=str(path),
            expected=REPAIR,
        )
    )


def read_incident(store: Store, run: str, step: int) -> pl.DataFrame:
    """The statistics of the steps around an incident, one row per step.

    Raises:
        StoreError: The record is missing or damaged.
    """
    path = artifact_path(store, "flight", run, step, "parquet")
    try:
        reason = damage(path, digests_of(store, path))
        if reason is None:
            return read_rows(path, None)
    except (DamagedError, OSError) as error:
        reason = str(error)
    raise StoreError(
        Problem(
            f"the flight record of run {run} at step {step} is missing or damaged ({reason})",
            given=str(path),
            expected=REPAIR,
        )
    )


def artifact_damage(
    store: Store, kind: str, run: str, step: int, suffix: str, known: dict[str, int]
) -> str | None:
    """Why a file of an artifact is not the one that was written; None if it is."""
    path = artifact_path(store, kind, run, step, suffix)
    try:
        reason = damage(path, known)
        if reason is None and suffix == "parquet":
            read_rows(path, None)
        elif reason is None:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            if (metadata.get("run"), metadata.get("step")) != (run, str(step)):
                reason = "it is another run's or another step's"
    except FileNotFoundError:
        return "missing"
    except (DamagedError, SafetensorError, OSError) as error:
        return str(error)
    return reason


def _facts(store: Store, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreError(
            Problem(
                "the store's index is damaged: facts about an artifact are not JSON",
                given=str(store.path / "index.sqlite"),
            )
        )
    return found


def check_space(path: Path, needed: int, what: str) -> None:
    """Checks that ``needed`` bytes fit on the disk and leave space for metrics and snapshots.

    Raises:
        StoreError: There is not enough disk space.
    """
    if not needed:
        return
    path = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(path).free
    if needed + _SPARE_BYTES > free:
        raise StoreError(
            Problem(
                f"not enough disk space for the {what}",
                given=f"{needed / 1e6:,.0f} MB to write, {free / 1e6:,.0f} MB free at {path}",
                expected=f"{_SPARE_BYTES / 1e6:,.0f} MB left free afterwards; capture less (fewer "
                "steps, samples or sites), or free some disk space",
            )
        )
