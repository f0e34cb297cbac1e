"""How long the logbooks' recipes take: a plain loop, one run after another, or ablab.

    python benchmarks/logbooks.py [RECIPE …] [--store LAB …] [--seconds 2]
    python benchmarks/logbooks.py [RECIPE …] --train FOLDER

With ``--train``, each recipe is trained at its quick size by ``ablab run``, all in one new store
and with one cache of programs that is empty at first, both in FOLDER. The table has the seconds
from the command to its end, entry included, and how many of them pass in steps and in evaluation,
divided by the number of processes; the rest is starting, planning, verifying, compiling, processes
that wait for others, analyses and the entry.

Otherwise a plain loop (benchmarks/plain.py, all threads) is timed for one run of each shape, for
some seconds after its first steps; the rest is multiplied: seconds of a step by the steps that the
stores' runs of that shape took, or by those that are asked for where no store has them. Runs that
several recipes share count once. Without evaluation, logging or snapshots.
"""

import argparse
import json
import os
import subprocess
import sys
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


def train(names: list[str], folder: Path) -> None:
    """Trains recipes and prints a table, row by row."""
    lab = folder / "lab"
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    environment = os.environ | {
        "ABLAB_CACHE": str(folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache" / "programs"),
    }
    print("| recipe | runs | shapes | run-steps | seconds | steps | evaluation | the rest |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    known: set[str] = set()
    sums = [0.0] * 7
    for name in names:
        began = time.perf_counter()
        command = [sys.executable, "-m", "ablab", "run", name, "--store", str(lab), "--quiet"]
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 1):  # 1: a run diverged
            sys.exit(f"{name}: exit code {done.returncode}")
        wall = time.perf_counter() - began
        rows = Store(lab, write=False).index.rows("SELECT id, step, segments FROM runs")
        new = {row["id"]: row for row in rows if row["id"] not in known}
        known |= new.keys()
        shapes = {run.stack_key for run in experiment(name).runs if run.id in new}
        steps = evaluating = 0.0
        owners = set()  # the processes that trained
        for segment in (part for row in new.values() for part in json.loads(row["segments"])):
            length = segment["to"] - segment["from"]
            owners.add(segment["owner"])
            for phase, seconds in segment.get("timings", {}).items():
                if phase == "evaluate":
                    evaluating += seconds * length
                else:
                    steps += seconds * length
        workers = max(1, len(owners))
        parts = [wall, steps / workers, evaluating / workers]
        parts.append(wall - parts[1] - parts[2])
        counts = [len(new), len(shapes), sum(row["step"] for row in new.values())]
        sums = [a + b for a, b in zip(sums, [*counts, *parts], strict=True)]
        _print_row(name, [*counts, *parts])
    _print_row("all", sums)


def _print_row(name: str, numbers: list[float]) -> None:
    print(f"| {name} | {' | '.join(f'{number:,.0f}' for number in numbers)} |", flush=True)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--store", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, for a shape")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train by ablab instead")
    options = parser.parse_args()
    retain_freed_memory()
    names = options.recipes or [each.name for each in shipped() if each.logbook is not None]
    if options.train:
        train(names, options.train)
        return
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
