"""What a transfer copies of runs: files, with their digests compared, and rows that are lacking."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from ablab.config import Problem
from ablab.store.digests import Written, digests_of, write_digested
from ablab.store.files import remove
from ablab.store.findings import is_finding_column
from ablab.store.index import StoreError
from ablab.store.metrics import read_runs
from ablab.store.shares import KEYS
from ablab.store.store import Store

LOSS = "train_loss"
_SETTINGS = ("torch", "device", "method", "threads", "width")  # that may change the last bits
_RESERVED = ("experiment", "seed")  # columns that reading adds


class ChangedError(StoreError):
    """A file of a store is missing, or not what the index says.

    It is damaged, or another process has replaced it meanwhile; another attempt tells.
    """


def copy_file(
    source: Store,
    target: Store,
    path: Path,
    to: Path,
    opened: Callable[[], BinaryIO] | None = None,
) -> Written:
    """Copies a file, and compares its digest with the one that the source's index has.

    Args:
        source: The store that has it.
        target: The store that gets it.
        path: Its path in the source.
        to: Its path in the target.
        opened: Opens it for reading, if its content may be elsewhere than at its path.

    Raises:
        ChangedError: It is missing or has another digest.
        StoreError: The copy cannot be written.
    """
    known = digests_of(source, path)
    try:
        file = path.open("rb") if opened is None else opened()
    except OSError as error:
        raise _changed(path, error.strerror or str(error)) from error
    with file:
        written = write_digested(target, to, partial(_write, file))
    if known and written.digest not in known:
        remove(to)
        raise _changed(path, "its content is not what was written (SHA-256)")
    return written


def _write(file: BinaryIO, to: Path) -> None:
    with to.open("wb") as copied:
        shutil.copyfileobj(file, copied, 2**20)


def _changed(path: Path, reason: str) -> ChangedError:
    return ChangedError(
        Problem(
            f"a file of the store is missing or damaged ({reason})",
            given=str(path),
            expected="the file that was written; ablab check says what is damaged",
        )
    )


def logged_rows(store: Store, runs: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The rows that training and replays have logged, by run; without the scalars of findings.

    Raises:
        ChangedError: A part is missing or damaged.
        StoreError: A column has values that no release of ablab logs.
    """
    if not runs:
        return {}
    try:
        frame = read_runs(store, runs, lambda names: [n for n in names if not is_finding_column(n)])
    except StoreError as error:
        raise ChangedError(*error.problems) from error
    for name, kind in frame.schema.items():
        if name not in KEYS and (name in _RESERVED or not (kind.is_numeric() or kind == pl.Null)):
            raise StoreError(
                Problem(
                    f"the metrics have a column that ablab does not log: {name!r:.60} ({kind})",
                    given=str(store.path),
                    expected="numbers, under the names of what was logged",
                )
            )
    return {str(key[0]): rows for key, rows in frame.partition_by("run", as_dict=True).items()}


def first_difference(a: pl.DataFrame, b: pl.DataFrame) -> int | None:
    """The first step at which two tables of a run have different losses; None if there is none."""
    losses = [each.select("step", LOSS).drop_nulls() for each in (a, b) if LOSS in each.columns]
    if len(losses) < 2:
        return None
    both = losses[0].join(losses[1], on="step", suffix="_other")
    step = both.filter(pl.col(LOSS) != pl.col(f"{LOSS}_other"))["step"].min()
    return None if step is None else int(step)  # type: ignore[arg-type]


def has_all_losses(rows: pl.DataFrame, steps: int) -> bool:
    """Whether a run's rows have a training loss for each of its steps."""
    if LOSS not in rows.columns:
        return steps == 0
    trained = rows.filter(pl.col(LOSS).is_not_null() & pl.col("step").is_between(1, steps))
    return trained["step"].n_unique() == steps


def lacking_rows(rows: pl.DataFrame, here: pl.DataFrame | None, step: int) -> list[pl.DataFrame]:
    """The rows of a run that another store lacks.

    Args:
        rows: All rows of the run.
        here: The rows that the other store has; None if it has none.
        step: The last step that it has; -1 if it has none.

    Returns:
        Later steps with all columns, and earlier ones with the columns of which it has no value.
    """
    filled = [name for name in _values(rows) if rows[name].count()]
    known = [] if here is None else [name for name in _values(here) if here[name].count()]
    new = [name for name in filled if name not in known]
    found = [rows.filter(pl.col("step") > step).select(*KEYS, *filled)]
    if new:
        earlier = rows.filter(
            (pl.col("step") <= step) & pl.any_horizontal(pl.col(new).is_not_null())
        )
        found.append(earlier.select(*KEYS, *new))
    return [each for each in found if each.height]


def _values(rows: pl.DataFrame) -> list[str]:
    return [name for name in rows.columns if name not in KEYS]


def together(rows: Mapping[str, list[pl.DataFrame]]) -> pl.DataFrame | None:
    """The rows of several runs as one table; None if there are none."""
    frames = [each for run in sorted(rows) for each in rows[run]]
    return pl.concat(frames, how="diagonal_relaxed").sort(KEYS) if frames else None


def unlike_losses(step: int, theirs: str, own: str) -> str:
    """Why a run is refused whose losses differ, with what differs in how that step was trained.

    Args:
        step: The first step at which they differ.
        theirs: The run's segments in the source, as JSON.
        own: The run's segments in the target.
    """
    there, here = (_segment_of(step, each) for each in (theirs, own))
    unlike = [
        f"{name} {there.get(name)}, here {here.get(name)}"
        for name in _SETTINGS
        if there.get(name) != here.get(name)
    ]
    how = f" ({'; '.join(unlike)})" if unlike else ""
    return f"its losses differ from those here from step {step} on{how}"


def _segment_of(step: int, segments: str) -> dict[str, Any]:
    """How a step was trained; empty if the index does not say."""
    for each in json.loads(segments):
        if isinstance(each, dict) and each.get("from", step) < step <= each.get("to", -1):
            return each
    return {}
