"""What watching costs: the same training with statistics and without, side by side.

    python benchmarks/watching.py [--rounds 9] [--sizes small,large] [--stacks 1,16]
        [--single] [--store]

For each size, alone and in a stack, eager and compiled, alternates blocks of steps of training
without watching, with the default statistics every 10 steps, and with all statistics every 10 steps
and at every step; prints the medians of the paired ratios. Statistics of eager steps are taken by a
native function (``eager``), or by torch's operations (``eager, torch``), as where no C++ compiler
is found. ``--single`` times single steps alone, where a step takes seconds: what every 10 steps
cost is then a tenth of what a watched step takes more. ``--store`` fills a store with 300 columns
× 10,000 steps × 20 runs instead, and says how large it is and how long one column of all runs takes
to read.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from ablab.execute.memory import retain_freed_memory
from ablab.experiments import experiment
from ablab.store.compaction import compact
from ablab.store.metrics import read_runs
from ablab.store.parts import add_part, write_part
from ablab.store.store import Store
from ablab.train.method import Method
from ablab.train.stack import Stack
from ablab.watching import step_statistics
from ablab.watching.names import DEFAULT
from ablab.watching.step_statistics import StepStatistics

CPU = torch.device("cpu")
SIZES: dict[str, dict[str, Any]] = {
    "small": {"n_layers": 2, "d_model": 64, "n_heads": 4, "length": 64, "batch": 32},
    "large": {"n_layers": 1, "d_model": 384, "n_heads": 12, "length": 256, "batch": 16},
}
PATTERNS = {"default, every 10": (DEFAULT, 10), "all, every 10": (("*",), 10), "all": (("*",), 1)}


def runs(size: str, count: int) -> Any:
    """Runs of a size on Tiny Shakespeare."""
    own = dict(SIZES[size])
    length, batch = own.pop("length"), own.pop("batch")
    asked = {
        "name": size,
        "task": {"kind": "text", "corpus": "tinyshakespeare", "seq_len": length},
        "model": {"kind": "transformer"} | own,
        "train": {"steps": 1000, "batch_size": batch},
        "seeds": count,
    }
    return experiment(asked).runs


def method(size: str, count: int, compiled: bool) -> Method:
    """How a stack is trained, as a plan would have it on a CPU."""
    engine = "solo" if count == 1 else "stack"
    if not compiled:
        return Method(engine)  # type: ignore[arg-type]
    rows = None if count == 1 else 1
    if size == "small":
        return Method(engine, compiled=True, attention="plain", rows=rows)  # type: ignore[arg-type]
    return Method(engine, compiled=True, rows=rows, samples=8)  # type: ignore[arg-type]


def stack(size: str, count: int, how: str, patterns: tuple[str, ...], every: int) -> Stack:
    """A stack that is watched at every so many steps."""
    made = Stack(runs(size, count), None, CPU, method(size, count, how == "compiled"))
    if patterns:
        known = step_statistics.native_reduce
        if how == "eager, torch":
            step_statistics.native_reduce = lambda: None
        made.collector = StepStatistics(made, patterns, lambda step: step % every == 0)
        step_statistics.native_reduce = known
    return made


def seconds(made: Stack, every: int) -> float:
    """Seconds of a step: of ten in a row, or of single ones where each is watched."""
    began = time.perf_counter()
    if every == 1:
        made.advance(1)
        return time.perf_counter() - began
    made.advance(every - made.step % every)
    return time.perf_counter() - began


def measure(size: str, count: int, how: str, rounds: int, single: bool) -> dict[str, Any]:
    """The overheads of one case, in percent of the training without watching."""
    result: dict[str, Any] = {"size": size, "runs": count, "how": how}
    plain = stack(size, count, how, (), 10)
    plain.advance(2)
    for name, (patterns, every) in PATTERNS.items():
        if single and name == "all, every 10":
            continue  # said by "all"
        block = 1 if single else every
        made = stack(size, count, how, patterns, block)
        made.advance(block)
        made.advance(block)
        plain.advance(-plain.step % block or block)
        times: list[tuple[float, float]] = []
        for _ in range(rounds if block == 10 else 3 * rounds):
            times.append((seconds(plain, block), seconds(made, block)))
        ratio = statistics.median(watched / alone for alone, watched in times)
        result[name] = round(100 * (ratio - 1) * block / every, 1)
        if single and name == "all":
            result["all, every 10"] = round(10 * (ratio - 1), 1)
        alone = statistics.median(each for each, _ in times) / block
        result["ms"] = round(1e3 * alone, 2)
        assert made.collector is not None
        result[f"columns, {name}"] = len(made.collector.names)
        del made
    return result


def fill(folder: Path) -> dict[str, Any]:
    """A store with 300 columns × 10,000 steps × 20 runs: its size, and the time to read one."""
    store = Store(folder, create=True)
    random = np.random.default_rng(0)
    names = [f"grad/blocks.{n // 50}.part{n % 50}/rms" for n in range(300)]
    began = time.perf_counter()
    for run in range(20):
        for first in range(1, 10_001, 1000):
            steps = np.arange(first, first + 1000)
            values = random.lognormal(size=(1000, 300)).astype(np.float32)
            frame = pl.DataFrame({"run": [f"{run:012x}"] * 1000, "step": steps})
            frame = frame.with_columns(pl.Series("train_loss", random.random(1000)))
            frame = pl.concat([frame, pl.from_numpy(values, schema=names)], how="horizontal")
            part = write_part(store, frame)
            with store.index.transaction() as connection:
                add_part(connection, store, part)
    compact(store)
    written = time.perf_counter() - began
    ids = [f"{run:012x}" for run in range(20)]
    times = []
    for name in names[:5]:
        began = time.perf_counter()
        found = read_runs(store, ids, lambda every, name=name: [name])  # type: ignore[misc]
        times.append(time.perf_counter() - began)
        assert found.height == 200_000
    size = sum(path.stat().st_size for path in (folder / "metrics").iterdir())
    return {
        "megabytes": round(size / 1e6, 1),
        "parts": len(list((folder / "metrics").iterdir())),
        "seconds to write": round(written, 1),
        "seconds to read a column of all runs": round(statistics.median(times), 3),
    }


def main() -> None:
    """Measures and prints one JSON document a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", default="small,large")
    parser.add_argument("--stacks", default="1,16")
    parser.add_argument("--hows", default="eager;eager, torch;compiled")
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--store", action="store_true")
    options = parser.parse_args()
    if options.store:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(fill(Path(folder) / "lab")))
        return
    retain_freed_memory()  # as in a training process of ablab
    for size in options.sizes.split(","):
        for count in map(int, options.stacks.split(",")):
            for how in options.hows.split(";"):
                rounds = max(2, options.rounds // (4 if count > 1 and size == "large" else 1))
                found = measure(size, count, how, rounds, options.single)
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
