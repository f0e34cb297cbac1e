"""Exports metrics to CSV, Parquet, TensorBoard and Weights & Biases, and tables of measures."""

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from ablab.config import InputError, Problem, nearest
from ablab.config.files import write_atomically
from ablab.read.measures import measure_table
from ablab.store.metrics import experiment_metrics
from ablab.store.paths import plain_name
from ablab.store.store import ExperimentRecord, Store

Form = Literal["csv", "parquet", "tensorboard", "wandb"]
_LONGEST = 200  # bytes of a variant in the name of a folder
_FRONT = ("run", "experiment", "seed", "step")


def export(
    store: Store,
    record: ExperimentRecord,
    form: str,
    out: str | Path | None = None,
    columns: tuple[str, ...] = (),
    project: str | None = None,
    offline: bool = False,
) -> tuple[Path, int]:
    """Exports an experiment's metrics to another format.

    Args:
        store: The store.
        record: The experiment.
        form: ``csv``, ``parquet``, ``tensorboard`` (event files, one folder per run) or ``wandb``
            (one W&B run per run, grouped by experiment).
        out: The file or folder. By default NAME.csv, NAME.parquet or NAME-tensorboard; for W&B,
            the working directory, in which a folder ``wandb`` is created.
        columns: Patterns of the columns to export; all by default.
        project: The W&B project; by default the experiment's name.
        offline: For W&B: nothing is uploaded; ``wandb sync`` can do so later.

    Returns:
        The path, and the number of runs.

    Raises:
        InputError: The format is unknown, a package is missing, a pattern matches no column, or
            W&B cannot be reached.
    """
    if form not in get_args(Form):
        raise InputError(
            Problem(
                f"unknown export format {form!r}",
                "--to",
                given=form,
                expected="one of " + ", ".join(get_args(Form)),
                suggestion=nearest(form, get_args(Form)),
            )
        )
    writer = _package(form)
    frame = experiment_metrics(store, record, columns)
    path = Path(out) if out is not None else _default(store, record, form)
    runs = frame["run"].n_unique()
    if form == "csv":
        write_atomically(path, frame.write_csv)
    elif form == "parquet":
        write_atomically(path, lambda to: frame.write_parquet(to, compression="zstd"))
    else:
        _make_folder(path)
        if form == "tensorboard":
            _to_tensorboard(writer, frame, record, path)
        else:
            _to_wandb(writer, frame, record, store, path, project or record.name, offline)
    return path, runs


def export_measures(
    store: Store,
    record: ExperimentRecord,
    form: str,
    measures: Sequence[str],
    out: str | Path | None = None,
) -> tuple[Path, int]:
    """Exports measures of an experiment's runs: a row for each run and measure.

    Each row has the run, its variant and seed, its ``status``, the ``measure``, and its ``value``,
    ``not_before`` and ``reason``; see :class:`ablab.read.measured.Measured`.

    Args:
        store: The store.
        record: The experiment.
        form: ``csv`` or ``parquet``.
        measures: The measures.
        out: The file; NAME-measures.csv or NAME-measures.parquet by default.

    Returns:
        The path, and the number of runs.

    Raises:
        InputError: The format has no table, or a measure is invalid.
    """
    if form not in ("csv", "parquet"):
        raise InputError(
            Problem("measures are a table", "--to", given=form, expected="csv or parquet")
        )
    tables = [
        measure_table(store, record, text).insert_column(0, pl.lit(text).alias("measure"))
        for text in measures
    ]
    frame = pl.concat(tables)
    path = Path(out or f"{plain_name(store.path, record.name)}-measures.{form}")
    if form == "csv":
        write_atomically(path, frame.write_csv)
    else:
        write_atomically(path, lambda to: frame.write_parquet(to, compression="zstd"))
    return path, frame["run"].n_unique()


def _make_folder(path: Path) -> None:
    """Makes the folder that an export is written to.

    Raises:
        InputError: There is a file with this name or on the way, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            Problem(f"cannot write to the folder {path} ({reason})", "--out", given=str(path))
        ) from error


def _default(store: Store, record: ExperimentRecord, form: str) -> Path:
    name = plain_name(store.path, record.name)
    names = {
        "csv": f"{name}.csv",
        "parquet": f"{name}.parquet",
        "tensorboard": f"{name}-tensorboard",
        "wandb": ".",
    }
    return Path(names[form])


def _package(form: str) -> Any:
    """The package that a format needs, or None."""
    modules = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
    if form not in modules:
        return None
    try:
        return importlib.import_module(modules[form])
    except ImportError as error:
        raise InputError(
            Problem(
                f"exporting to {form} needs a package that is not installed ({error})",
                "--to",
                given=form,
                expected=f"pip install 'ablab[{form}]'",
            )
        ) from error


def _rows(frame: pl.DataFrame, record: ExperimentRecord) -> Any:
    """For each run: its id, variant, seed, and (step, logged values) of every row."""
    keys = list(record.definition["grid"])
    values = [name for name in frame.columns if name not in (*_FRONT, *keys)]
    for (run,), mine in frame.group_by("run", maintain_order=True):
        variant = {key: mine[key][0] for key in keys}
        rows = (
            (
                row["step"],
                {
                    name: row[name]
                    for name in values
                    if row[name] is not None and math.isfinite(row[name])
                },
            )
            for row in mine.iter_rows(named=True)
        )
        yield run, variant, mine["seed"][0], rows


def _to_tensorboard(
    package: Any, frame: pl.DataFrame, record: ExperimentRecord, path: Path
) -> None:
    for run, variant, seed, rows in _rows(frame, record):
        label = ",".join(f"{key}={value}" for key, value in (variant | {"seed": seed}).items())
        # A name has at most 255 bytes; the run's id alone would identify it.
        short = label.replace("/", "_").encode()[:_LONGEST].decode(errors="ignore")
        folder = path / f"{short}-{run}"
        for old in folder.glob("events.out.tfevents.*"):  # replace earlier events, do not append
            old.unlink()
        with package.SummaryWriter(str(folder)) as writer:
            writer.add_text(
                "configuration", f"```json\n{json.dumps(record.definition, indent=1)}\n```"
            )
            for step, values in rows:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)


def _to_wandb(
    wandb: Any,
    frame: pl.DataFrame,
    record: ExperimentRecord,
    store: Store,
    path: Path,
    project: str,
    offline: bool,
) -> None:
    for run, variant, seed, rows in _rows(frame, record):
        trajectory = json.loads(store.run_row(run)["trajectory"])
        label = ", ".join(f"{key}={value}" for key, value in (variant | {"seed": seed}).items())
        try:
            exported = wandb.init(
                project=project,
                group=record.name,
                id=run,
                name=label,
                config=trajectory | {"variant": variant},
                dir=str(path),
                mode="offline" if offline else "online",
                settings=wandb.Settings(silent=True, console="off"),
                reinit="finish_previous",
            )
        except wandb.errors.Error as error:
            raise InputError(
                Problem(
                    f"Weights & Biases cannot be reached ({str(error).splitlines()[0]})",
                    "--to",
                    expected="a login (wandb login) and a network connection, or --offline",
                )
            ) from error
        for step, values in rows:
            exported.log(values, step=step)
        exported.finish()
