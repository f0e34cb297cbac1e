"""Stores that are filled with made-up curves, without training."""

import numpy as np
import polars as pl

import ablab
from ablab.store.expected import stamp
from ablab.store.parts import add_part, write_part
from ablab.store.store import Store

ENVIRONMENT = {
    "packages": {"torch": "0"},
    "python": "3",
    "processor": "none",
    "cores": 1,
    "memory": "1 GiB",
    "system": "none",
    "commit": None,
}


def fill(path, asked, curve, late=()):
    """A store with an experiment whose runs' columns are ``curve(variant, seed, steps)``.

    ``curve`` gives a mapping of columns, or an array for the training loss; None is a run that
    diverged at its tenth step. ``late`` are expectations that are written afterwards.
    """
    return fill_experiment(path, ablab.experiment(asked), curve, late)


def fill_experiment(path, experiment, curve, late=()):
    """The same of an experiment, some runs of which may be filled already."""
    store = Store(path, create=True)
    record = store.register(experiment, f"ablab run {experiment.name}", ENVIRONMENT)
    stamp(store, record, experiment.expectations)
    frames, ends = [], {}
    known = {row["id"] for row in store.index.rows("SELECT id FROM runs WHERE step > 0")}
    for variant in experiment.variants:
        for run in variant.runs:
            if run.id in known:
                continue
            steps = np.arange(1, run.train.steps + 1)
            columns = curve(variant.keys, run.seed, steps)
            if columns is None:
                ends[run.id] = (10, "diverged")
                columns, steps = np.append(np.ones(9), np.nan), steps[:10]
            else:
                ends[run.id] = (run.train.steps, None)
            if not isinstance(columns, dict):
                columns = {"train_loss": columns}
            lr = np.where(steps % 10 == 0, 1e-3, np.nan)
            rows = {"run": [run.id] * len(steps), "step": steps, "lr": lr} | columns
            frame = pl.DataFrame(rows, nan_to_null=False)
            logged = [name for name in frame.columns if name not in ("run", "train_loss")]
            frames.append(frame.with_columns(pl.col(logged).fill_nan(None)))
    parts = [write_part(store, pl.concat(frames, how="diagonal"))] if frames else []
    with store.index.transaction() as connection:
        for part in parts:
            add_part(connection, store, part)
        for run, (step, outcome) in ends.items():
            connection.execute(
                "UPDATE runs SET step = ?, outcome = ? WHERE id = ?", (step, outcome, run)
            )
    stamp(store, record, late)
    return store, record


def grid(steps=400, seeds=5, **more):
    """An experiment over width and heads."""
    return {
        "name": "made-up",
        "question": "Does it?",
        "task": {"kind": "addition"},
        "train": {"steps": steps},
        "grid": {"model.d_model": [8, 16, 32], "model.n_heads": [1, 4]},
        "seeds": seeds,
    } | more


def leaving(rng, steps, at, level=2.302585, rate=0.02, noise=0.01):
    """A curve that stays at a level and falls exponentially from a step on."""
    clean = level * np.exp(-rate * np.maximum(steps - at, 0)) + 1e-4
    return clean * np.exp(noise * rng.standard_normal(len(steps)))
