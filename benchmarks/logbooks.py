"""How long a plain loop would need for the logbooks' recipes, one run after another.

    python benchmarks/logbooks.py [RECIPE …] [--store LAB …] [--seconds 2]

A plain loop (benchmarks/plain.py, all threads) is timed for one run of each shape, for some seconds
after its first steps; the rest is multiplied: seconds of a step by the steps that the stores'
runs of that shape took, or by those that are asked for where no store has them. Runs that several
recipes share count once. Without evaluation, logging or snapshots.
"""

import argparse
import time
from pathlib import Path

import torch
from plain import plain_loop

from ablab.execute.memory import retain_freed_memory
from ablab.experiments import experiment
from ablab.experiments.source import shipped
from ablab.store import Store


def step_seconds(run, seconds: float) -> float:
    """Seconds of one step of the plain loop."""
    advance = plain_loop(run)
    advance(2)
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        advance(2)
        steps += 2
    return (time.perf_counter() - began) / steps


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--store", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, for a shape")
    options = parser.parse_args()
    retain_freed_memory()
    names = options.recipes or [each.name for each in shipped() if each.logbook is not None]
    taken: dict[str, int] = {}
    for path in options.store:
        for row in Store(Path(path), write=False).index.rows("SELECT id, step FROM runs"):
            taken[row["id"]] = max(row["step"], taken.get(row["id"], 0))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| recipe | runs | shapes | run-steps | plain loop, minutes |")
    print("| --- | --- | --- | --- | --- |")
    counted: set[str] = set()
    speeds: dict[tuple, float] = {}
    totals = [0, 0, 0.0]
    for name in names:
        runs = [run for run in experiment(name).runs if run.id not in counted]
        counted |= {run.id for run in runs}
        found, steps = 0.0, 0
        for run in runs:
            if run.stack_key not in speeds:
                speeds[run.stack_key] = step_seconds(run, options.seconds)
            mine = taken.get(run.id) or run.train.steps
            found, steps = found + mine * speeds[run.stack_key], steps + mine
        shapes = len({run.stack_key for run in runs})
        print(f"| {name} | {len(runs)} | {shapes} | {steps:,} | {found / 60:.1f} |", flush=True)
        totals = [totals[0] + len(runs), totals[1] + steps, totals[2] + found]
    print(f"| all | {totals[0]} | {len(speeds)} | {totals[1]:,} | {totals[2] / 60:.1f} |")


if __name__ == "__main__":
    main()
