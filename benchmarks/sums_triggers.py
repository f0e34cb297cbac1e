"""What keeping the sums of experiments adds to a checkpoint, which updates a row for each run.

python benchmarks/sums_triggers.py [--runs N] [--times N]

An experiment of N runs (default 10,000) is registered in a new store. Then checkpoints of stacks of
1 to 1,000 runs are written as in training: a metrics part, and a row updated for each run; with and
without the triggers that keep the sums, in turn. Steps go up, so that the sums change each time.
Prints medians of wall time, and of the transaction alone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from benchmarks.large_store import asked, rows

from ablab.execute.environment import environment
from ablab.store import Store
from ablab.store import index as index_module
from ablab.store.parts import add_part, write_part

WIDTHS = (1, 10, 100, 1_000)


def checkpoint(store: Store, runs: list[str], step: int, random: np.random.Generator) -> float:
    """Writes a checkpoint of some runs; returns the seconds of the transaction."""
    part = write_part(store, rows(runs, random))
    began = time.perf_counter()
    with store.index.transaction() as connection:
        for run in runs:
            connection.execute(
                "UPDATE runs SET step = ?, seconds = seconds + 0.3, updated = ? WHERE id = ?",
                (step, str(step), run),
            )
        add_part(connection, store, part)
    return time.perf_counter() - began


def main() -> None:
    """Measures, and prints a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=15)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        made = asked(0, given.runs)
        with_sums = Store(Path(folder) / "lab", create=True, verify=False)
        with_sums.register(made, "ablab run large.yaml", environment())
        nothing: Callable[..., None] = lambda connection: None  # noqa: E731
        with mock.patch.object(index_module, "keep_sums", nothing):
            without = Store(Path(folder) / "lab", verify=False)
            with without.index.transaction():
                pass  # the triggers belong to a connection, and are made by its first transaction
        ids = [run.id for run in made.runs]
        print("| runs | with sums | without | transaction with | without | per run |")
        print("| --- | --- | --- | --- | --- | --- |")
        step = 0
        for width in WIDTHS:
            found: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
            for time_number in range(given.times):
                for place, store in enumerate((with_sums, without)):
                    step += 1
                    begin = (time_number * width) % (len(ids) - width + 1)
                    began = time.perf_counter()
                    inside = checkpoint(store, ids[begin : begin + width], step, random)
                    found[place].append((time.perf_counter() - began, inside))
            (whole, inner), (plain, plain_inner) = (
                tuple(statistics.median(each) for each in zip(*found[place], strict=True))
                for place in (0, 1)
            )
            print(
                f"| {width:,} | {whole * 1e3:.1f} ms | {plain * 1e3:.1f} ms | {inner * 1e3:.1f} ms "
                f"| {plain_inner * 1e3:.1f} ms | {(inner - plain_inner) / width * 1e6:.0f} µs |"
            )


if __name__ == "__main__":
    main()
