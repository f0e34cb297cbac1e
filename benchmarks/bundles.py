"""What moving small snapshots to bundles takes, and what it changes for a store.

    python benchmarks/bundles.py [--runs 10000 …] [--at FOLDER]

A store of each size is made by the store's own code: runs of 1,156 parameters, each with the
snapshots of its first and its last step. Then the table: files and folders in the store, its disk
use, seconds to move the snapshots, to check the store, and to read the last snapshots of 1,000 runs
in random order, once before and once after they were moved.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from large_store import MOST, PART, asked, train

from ablab.execute.environment import environment
from ablab.store import Store, bundles
from ablab.store.check import check_store
from ablab.store.digests import record_digests
from ablab.store.snapshots import read_parameters, write_snapshot
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.run_state import RunState
from ablab.train.stack import initial_model

STEPS = (0, 20)


def fill(store: Store, count: int) -> list[str]:
    """Registers runs and writes their metrics and snapshots; returns their ids."""
    numbers = np.random.default_rng(0)
    ids: list[str] = []
    for number in range(max(1, count // MOST)):
        made = asked(number, min(count, MOST))
        store.register(made, "ablab run large.yaml", environment())
        layout = ParameterLayout.of(initial_model(made.runs[0]))
        runs = [run.id for run in made.runs]
        for begin in range(0, len(runs), PART):
            some = runs[begin : begin + PART]
            train(store, some, numbers)
            rows, files = [], []
            for run in some:
                for step in STEPS:
                    theta = torch.rand(layout.size)
                    slots = {"exp_avg": theta.clone(), "exp_avg_sq": theta.clone()}
                    state = RunState(step, theta, slots if step else {}, None)
                    written = write_snapshot(store, run, state, layout, with_optimizer=step > 0)
                    rows.append((run, step, written.bytes, step > 0, False))
                    files.append(written)
            with store.index.transaction() as connection:
                connection.executemany("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", rows)
                record_digests(connection, store, files)
        ids += runs
    return ids


def used(path: Path) -> tuple[int, float]:
    """The files and folders below a path, and the MiB that they take on the disk."""
    found = [path, *path.rglob("*")]
    return len(found), sum(os.lstat(each).st_blocks for each in found) * 512 / 2**20


def seconds(call) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def read_some(store: Store, ids: list[str]) -> None:
    """Reads the last snapshots of 1,000 runs."""
    for run in random.Random(0).sample(ids, min(1_000, len(ids))):
        read_parameters(store, run, STEPS[-1])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000])
    parser.add_argument("--at", type=Path)
    arguments = parser.parse_args()
    print("| runs | | files | MiB | move, s | check, s | read 1,000, s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    bundles._MANY = 0
    for count in arguments.runs:
        folder = Path(tempfile.mkdtemp(dir=arguments.at))
        try:
            store = Store(folder / "lab", create=True)
            ids = fill(store, count)
            moving = 0.0
            for when in ("before", "after"):
                if when == "after":
                    moving = seconds(lambda store=store: bundles.bundle_snapshots(store))
                files, size = used(store.path)
                checking = seconds(lambda store=store: check_store(store))
                reading = seconds(lambda store=store, ids=ids: read_some(store, ids))
                print(
                    f"| {count:,} | {when} | {files:,} | {size:,.0f} | {moving:.1f} "
                    f"| {checking:.1f} | {reading:.2f} |",
                    flush=True,
                )
            store.close()
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
