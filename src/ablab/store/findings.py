"""Findings: what analyses found in a run's model at a step.

The index holds the scalars of a finding, which are read as columns ``analysis/NAME/WHAT`` of the
metrics. Its tables and arrays are in ``findings/RUN/STEP-KEY.safetensors``: arrays as tensors, each
table as the bytes of a Parquet file.
"""

import io
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ablab.config import Problem
from ablab.store.digests import damage, digests_of, forget_digests, record_digests, write_digested
from ablab.store.files import remove
from ablab.store.index import StoreError
from ablab.store.parquet import read_rows
from ablab.store.parts import REPAIR
from ablab.store.paths import finding_path
from ablab.store.store import Store

PREFIX = "analysis/"
LAST_STEP = "last_step"  # a fact about one that was made with the model of a later step
_TABLE, _ARRAY = "table/", "array/"


@dataclass(frozen=True)
class StoredFinding:
    """What an analysis found in a run's model at a step.

    Attributes:
        run: The run's id.
        step: The step of the model.
        name: The analysis, followed by ``:key:value`` for settings that are not the defaults.
        key: 12 hexadecimal digits that identify the analysis, its edition, its settings and the
            samples that it used.
        scalars: Numbers by name; None where there is none.
        tables: Frames by name.
        arrays: Arrays by name.
        about: Further facts, as plain data.
    """

    run: str
    step: int
    name: str
    key: str
    scalars: Mapping[str, float | None]
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def record_analyses(store: Store, analyses: Mapping[str, Mapping[str, Any]]) -> None:
    """Records what reading and pages need of analyses, as plain data by the name of the findings.

    Raises:
        StoreError: It cannot be written.
    """
    texts = {name: json.dumps(about) for name, about in analyses.items()}
    known = {row["name"]: row["about"] for row in store.index.rows("SELECT * FROM analyses")}
    new = [(name, text) for name, text in texts.items() if known.get(name) != text]
    if new:
        with store.index.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO analyses VALUES (?, ?)", new)


def recorded_analyses(store: Store) -> dict[str, dict[str, Any]]:
    """What was recorded of analyses, by the name of the findings."""
    rows = store.index.rows("SELECT * FROM analyses")
    return {row["name"]: json.loads(row["about"]) for row in rows}


def save_findings(store: Store, findings: Sequence[StoredFinding]) -> None:
    """Saves findings, in place of those of the same run and name with another key, at any step.

    These were found in another way: by an earlier edition, or with the model of another last step.
    A curve of both would compare what is not comparable.

    Raises:
        StoreError: They cannot be written.
    """
    written = {}
    for each in findings:
        if each.tables or each.arrays:
            path = finding_path(store.path, each.run, each.step, each.key)
            write = partial(_write, finding=each)
            written[each.run, each.step, each.name] = write_digested(store, path, write)
    replaced: list[Path] = []
    with store.index.transaction() as connection:
        for each in findings:
            row = (each.run, each.step, each.name)
            others = "FROM findings WHERE run = ? AND name = ? AND key != ?"
            found_otherwise = each.run, each.name, each.key
            for step, key in connection.execute(f"SELECT step, key {others}", found_otherwise):
                replaced.append(finding_path(store.path, each.run, step, key))
            connection.execute(f"DELETE {others}", found_otherwise)
            scalars = {name: _finite(value) for name, value in each.scalars.items()}
            about = json.dumps({**each.about, "scalars": scalars})
            size = written[row].bytes if row in written else 0
            connection.execute(
                "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?)",
                (*row, each.key, size, about),
            )
        record_digests(connection, store, written.values())
        forget_digests(connection, store, replaced)
    for path in replaced:
        remove(path)


def stored_keys(store: Store, runs: Collection[str]) -> dict[tuple[str, int, str], str]:
    """The keys of the findings of some runs, by run, step and name."""
    return {
        (row["run"], row["step"], row["name"]): row["key"]
        for row in _rows(store, runs, "run, step, name, key")
    }


def read_finding(store: Store, run: str, step: int, name: str) -> StoredFinding:
    """A finding with its tables and arrays.

    Raises:
        StoreError: There is none, or its file is missing or damaged.
    """
    rows = store.index.rows(
        "SELECT * FROM findings WHERE run = ? AND step = ? AND name = ?", run, step, name
    )
    if not rows:
        raise StoreError(Problem(f"run {run} has no finding {name} of step {step}", given=name))
    row = rows[0]
    about = json.loads(row["about"])
    scalars = about.pop("scalars", {})
    tables, arrays = _read(store, row) if row["bytes"] else ({}, {})
    return StoredFinding(run, step, name, row["key"], scalars, tables, arrays, about)


def list_findings(store: Store, runs: Collection[str]) -> list[StoredFinding]:
    """The findings of some runs without their tables and arrays, by name, run and step."""
    found = []
    for row in _rows(store, runs, "run, step, name, key, about"):
        about = json.loads(row["about"])
        scalars = about.pop("scalars", {})
        place = (row["run"], row["step"], row["name"], row["key"])
        found.append(StoredFinding(*place, scalars, about=about))
    return sorted(found, key=lambda each: (each.name, each.run, each.step))


def scalar_columns(
    store: Store, runs: Collection[str], last: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """The scalars of the findings of some runs: ``run``, ``step`` and ``analysis/NAME/WHAT``.

    Args:
        store: The store.
        runs: The runs' ids.
        last: The last step of each run in an experiment; findings with the model of a later one
            are left out.

    Returns:
        A row for each run and step that has findings, without an order.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in _rows(store, runs, "run, step, name, about"):
        place = (row["run"], row["step"])
        about = json.loads(row["about"])
        if last is not None and about.get(LAST_STEP, 0) > last[row["run"]]:
            continue
        values = found.setdefault(place, {"run": place[0], "step": place[1]})
        for what, value in about.get("scalars", {}).items():
            values[f"{PREFIX}{row['name']}/{what}"] = None if value is None else float(value)
    names = sorted({name for values in found.values() for name in values} - {"run", "step"})
    schema = {"run": pl.String, "step": pl.Int64, **dict.fromkeys(names, pl.Float64)}
    return pl.DataFrame(list(found.values()), schema=schema)


def is_finding_column(column: str) -> bool:
    """Whether a metrics column is a scalar of an analysis."""
    return column.startswith(PREFIX)


def finding_damage(
    store: Store, run: str, step: int, key: str, known: dict[str, int]
) -> str | None:
    """Why the file of a finding is not the one that was written; None if it is."""
    path = finding_path(store.path, run, step, key)
    try:
        reason = damage(path, known)
        if reason is None:
            _decode(path, run, step)
    except FileNotFoundError:
        return "missing"
    except (ValueError, OSError) as error:
        return str(error)
    return reason


def _rows(store: Store, runs: Collection[str], columns: str) -> Iterable[Any]:
    among = "run IN (SELECT value FROM json_each(?))"
    return store.index.rows(
        f"SELECT {columns} FROM findings WHERE {among} ORDER BY run, step, name",
        json.dumps(sorted(runs)),
    )


def _write(path: Path, finding: StoredFinding) -> None:
    from safetensors.numpy import save_file

    tensors = {f"{_ARRAY}{name}": np.ascontiguousarray(a) for name, a in finding.arrays.items()}
    for name, table in finding.tables.items():
        content = io.BytesIO()
        table.write_parquet(content, compression="zstd")
        tensors[f"{_TABLE}{name}"] = np.frombuffer(content.getvalue(), np.uint8)
    save_file(tensors, path, {"run": finding.run, "step": str(finding.step), "ablab": "1"})


def _read(store: Store, row: Any) -> tuple[dict[str, pl.DataFrame], dict[str, NDArray[Any]]]:
    path = finding_path(store.path, row["run"], row["step"], row["key"])
    try:
        reason = damage(path, digests_of(store, path))
        if reason is None:
            return _decode(path, row["run"], row["step"])
    except FileNotFoundError:
        reason = "missing"
    except (ValueError, OSError) as error:
        reason = str(error)
    raise StoreError(
        Problem(
            f"the finding {row['name']} of run {row['run']} at step {row['step']} is damaged "
            f"({reason})",
            given=str(path),
            expected=REPAIR,
        )
    )


def _decode(
    path: Path, run: str, step: int
) -> tuple[dict[str, pl.DataFrame], dict[str, NDArray[Any]]]:
    """The tables and arrays of a file.

    Raises:
        ValueError: It is damaged, or another run's or step's.
    """
    from safetensors import SafetensorError, safe_open

    tables, arrays = {}, {}
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if (metadata.get("run"), metadata.get("step")) != (run, str(step)):
                raise ValueError("it is another run's or another step's")
            for name in file.keys():  # noqa: SIM118
                value = file.get_tensor(name)
                if name.startswith(_TABLE):
                    content = io.BytesIO(value.tobytes())
                    tables[name.removeprefix(_TABLE)] = read_rows(content, None)
                else:
                    arrays[name.removeprefix(_ARRAY)] = value
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return tables, arrays


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
