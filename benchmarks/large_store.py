"""Times the commands that read a store of 1,000 to 1,000,000 runs, each in a process of its own.

python benchmarks/large_store.py [--at FOLDER] [--runs N …] [--limit SECONDS] [--only WORD …]

The stores are made by the store's own code and stay in FOLDER, so that a second call measures the
same ones. Experiments have up to 10,000 runs: 1,000 variants (10 widths, 20 rates, 5 batch sizes)
of 10 seeds. A run has 20 steps: 20 rows with a training loss, 3 of them (steps 0, 10 and 20: 21
rows) with the held-out loss, accuracy, rate and gradient norm, in parts of 1,000 runs, and one
segment as a checkpoint writes it. It has no snapshot: a file each would need a million
inodes. So ``check`` also names every run as one that cannot be resumed, and exits with 1.

A cell has the seconds of the command, start of Python included; in brackets its processor time,
which says more where the machine does other work; and its peak resident memory. The first command
that opens a large index since another program changed it verifies every row. It has a row of its
own, ``open``; the others come after it. Requests to the live page are timed in its process.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ablab.execute.environment import environment
from ablab.experiments import experiment
from ablab.experiments.experiment import Experiment
from ablab.store import Store
from ablab.store.parts import add_part, write_part
from ablab.store.store import timestamp

SIZES = (1_000, 10_000, 100_000, 1_000_000)
MOST = 10_000  # runs of an experiment
STEPS = 20
PART = 1_000  # runs in a metrics part
NAME = "large-0"
OVERRIDES = (
    "model.n_heads=1",
    f"train.steps={STEPS}",
    "model.d_model=" + ",".join(str(4 * (i + 1)) for i in range(10)),
    "train.lr=" + ",".join(f"{(i + 1) * 1e-4:.4f}" for i in range(20)),
    "train.batch_size=16,32,64,128,256",
)


def asked(number: int, runs: int) -> Experiment:
    """One of the experiments of a store; those of another number share no run with it."""
    return experiment(
        "addition",
        f"name=large-{number}",
        f"train.weight_decay={(number + 1) * 1e-4:.4f}",
        f"seeds={max(1, runs // 1_000)}",
        *OVERRIDES,
    )


def rows(runs: list[str], random: np.random.Generator) -> pl.DataFrame:
    """The metrics of some runs: falling losses, with noise."""
    steps = np.arange(STEPS + 1)
    rates = random.uniform(0.02, 0.2, (len(runs), 1))
    noise = random.normal(0, 0.02, (len(runs), STEPS + 1))
    losses = (2.3 * np.exp(-rates * steps) + noise + 0.1).ravel()
    every = np.tile(steps, len(runs))
    evaluated = every % 10 == 0
    frame = pl.DataFrame(
        {
            "run": np.repeat(runs, STEPS + 1),
            "step": every,
            "train_loss": np.where(every > 0, losses, np.nan),
            "eval_loss": np.where(evaluated, losses + 0.05, np.nan),
            "eval_accuracy": np.where(evaluated, np.exp(-losses), np.nan),
            "lr": np.where(evaluated, 1e-3, np.nan),
            "grad_norm": np.where(evaluated, losses / 2, np.nan),
        }
    )
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def train(store: Store, runs: list[str], random: np.random.Generator) -> None:
    """Adds a metrics part and updates the rows of its runs, as a checkpoint does."""
    frame = rows(runs, random)
    part = write_part(store, frame)
    last = frame.filter(pl.col("step") == STEPS)
    timings = dict.fromkeys(("batch", "forward", "backward", "update", "evaluate"), 1.25e-4)
    segment = {
        "from": 0, "to": STEPS, "owner": "0" * 32, "method": "stack", "engine": "stack",
        "device": "cpu", "threads": 1, "torch": "2.13.0", "at": timestamp(), "width": 100,
        "timings": timings, "memory": 4e8, "load": {"cpu": 0.98},
    }  # fmt: skip
    segments = json.dumps([segment])
    with store.index.transaction() as connection:
        for run, train_loss, eval_loss in last.select("run", "train_loss", "eval_loss").iter_rows():
            connection.execute(
                """UPDATE runs SET step = ?, outcome = NULL, error = NULL, n_params = 1156,
                   seconds = seconds + 0.3, train_loss = ?, eval_loss = ?, segments = ?,
                   updated = ? WHERE id = ?""",
                (STEPS, train_loss, eval_loss, segments, timestamp(), run),
            )
        add_part(connection, store, part)


def fill(path: Path, count: int) -> None:
    """Makes a store of a number of runs, or completes one that has fewer."""
    store = Store(path, create=True, verify=False)
    store.index.rows("PRAGMA cache_size = -1000000")  # KiB: keys are spread over the whole file
    random = np.random.default_rng(0)
    for number in range(max(1, count // MOST)):
        if any(each.name == f"large-{number}" for each in store.experiments()):
            continue
        began = time.perf_counter()
        made = asked(number, min(count, MOST))
        store.register(made, "ablab run large.yaml", environment())
        runs = [run.id for run in made.runs]
        for begin in range(0, len(runs), PART):
            train(store, runs[begin : begin + PART], random)
        print(f"{path}: {number} ({time.perf_counter() - began:.0f} s)", file=sys.stderr)
    store.close()


def measured(arguments: list[str], limit: float, gigabytes: float) -> tuple[str, str]:
    """Runs a command; returns what it took as text, and the end of what it printed."""
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    most = int(gigabytes * 2**30)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
    assert process.stdout is not None
    end = b""
    try:
        deadline = began + limit
        os.set_blocking(process.stdout.fileno(), False)
        while True:
            chunk = process.stdout.read(2**20)
            if chunk:
                end = (end + chunk)[-4096:]
            elif chunk == b"":
                break
            elif time.perf_counter() > deadline:
                process.kill()
                break
            else:
                time.sleep(0.005)
    finally:
        _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    seconds, busy = time.perf_counter() - began, used.ru_utime + used.ru_stime
    ended = {-9: "stopped after "}.get(code, "" if code in (0, 1) else f"exit {code} after ")
    text = f"{ended}{seconds:.1f} s ({busy:.1f}), {used.ru_maxrss / 1024:,.0f} MiB"
    return text, end.decode(errors="replace")


def commands(store: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    """The name and the arguments of every command that is measured."""
    own = ["--store", str(store), "--quiet"]
    grid = [f"seeds={max(1, min(count, MOST) // 1_000)}", "train.weight_decay=0.0001", *OVERRIDES]
    run = asked(0, min(count, MOST)).runs[-1].id
    yield "open", ["show", run, *own]
    yield "show RUN", ["show", run, *own]
    yield "runs", ["runs", *own]
    yield "runs --json", ["runs", "--json", *own]
    yield "runs of an experiment", ["runs", "--experiment", NAME, *own]
    yield "plan", ["plan", "addition", f"name={NAME}", *grid, *own]
    yield "metrics of an experiment", ["metrics", NAME, "--columns", "eval_loss", *own]
    yield "effects", ["effects", NAME, *own]
    yield "entry", ["logbook", NAME, *own]
    yield "check", ["check", *own]


def serve(store: Path) -> None:
    """Prints the seconds of requests to the live page: first and again, and of an experiment."""
    from starlette.testclient import TestClient

    from ablab.serve.app import make_app

    found = {}

    def ask(name: str, path: str, **headers: str) -> str:
        began, busy = time.perf_counter(), time.process_time()
        answer = client.get(path, headers=headers)
        took = time.perf_counter() - began, time.process_time() - busy
        found[name] = *took, answer.status_code, len(answer.content)
        print(json.dumps(found), flush=True)  # what is known so far
        return answer.headers["etag"]

    client = TestClient(make_app(store, loopback=True, token=None), base_url="http://127.0.0.1")
    etag = ask("serve: first page", "/")
    ask("serve: a poll", "/", **{"If-None-Match": etag})
    Store(store, verify=False).note(1, "a note")  # a change elsewhere in the store
    time.sleep(5 * found["serve: first page"][0])  # a page rests for four times what it took
    ask("serve: a poll after a change", "/", **{"If-None-Match": etag})
    etag = ask("serve: an experiment", "/experiments/1")
    ask("serve: its poll", "/experiments/1", **{"If-None-Match": etag})


def main() -> None:
    """Makes the stores that are missing, measures, and prints a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at", type=Path, default=Path("large"), help="where the stores are")
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of a command")
    parser.add_argument("--gigabytes", type=float, default=16.0, help="address space of a command")
    parser.add_argument("--only", nargs="+", help="words in the names of the commands")
    parser.add_argument("--make", action="store_true", help="only make the stores")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    before: Path | None = None
    table: dict[str, dict[int, str]] = {}
    for count in given.runs:
        path = given.at / f"{count}"
        if before is not None and not path.exists() and count > MOST <= int(before.name):
            shutil.copytree(before, path)
        fill(path, count)
        before = path
        if given.make:
            continue

        def put(name: str, text: str, count: int = count) -> None:
            table.setdefault(name, {})[count] = text
            print(f"{count} {name}: {text}", file=sys.stderr)

        for name, arguments in commands(path, count):
            if given.only and not any(word in name for word in given.only):
                continue
            call = [sys.executable, "-m", "ablab", *arguments]
            put(name, measured(call, given.limit, given.gigabytes)[0])
        if given.only and not any(word in "serve" for word in given.only):
            continue
        call = [sys.executable, __file__, "--serve", str(path)]
        took, text = measured(call, 2 * given.limit, given.gigabytes)
        found = json.loads((text.splitlines() or ["{}"])[-1])
        for name, (seconds, busy, status, size) in found.items():
            put(name, f"{seconds:.2f} s ({busy:.2f}), status {status}, {size / 1e6:.1f} MB")
        put("serve: the process", took)
    _print(table, given.runs)


def _print(table: dict[str, dict[int, str]], sizes: list[int]) -> None:
    print("| | " + " | ".join(f"{each:,}" for each in sizes) + " |")
    print("| --- " * (len(sizes) + 1) + "|")
    for name, found in table.items():
        print(f"| {name} | " + " | ".join(found.get(each, "") for each in sizes) + " |")


if __name__ == "__main__":
    main()
