"""Grids on a Ray cluster of one machine: their time, unlike nodes, and faults.

    python benchmarks/cluster.py wall [--rounds 3]      # beside as many local worker processes
    python benchmarks/cluster.py unlike [--rounds 1]    # two nodes, one slowed to a third
    python benchmarks/cluster.py faults [--faults 200] [--seed 0]

``wall`` trains the 240 runs of attention-norms on four nodes of one core and in four worker
processes, in turns, and compares the metrics bit for bit. ``unlike`` pins each of two nodes to a
core and stops the training process of one of them two thirds of the time; the ideal is that of
both paces added. ``faults`` trains small grids, does something to them at random moments, gives the
command again where it ended, and checks the store, its metrics, and how many steps were trained
twice.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import psutil

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

from ray.cluster_utils import Cluster

from ablab.store.check import check_store
from ablab.store.metrics import read_runs
from ablab.store.store import Store

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
GRID = [
    "addition", "model.d_model=8,16", "model.n_heads=1", "train.steps=1200", "seeds=2",
    "train.snapshots={every: 200, logarithmic: false}", "train.evaluate={every: 400, samples: 64}",
]  # fmt: skip
INTERVAL, LOGGED = 200, 10
SILENT = 6.0  # seconds, for faults


def cluster(nodes: int) -> tuple[Cluster, list[Any]]:
    """A cluster with a head that trains nothing, and nodes of one core."""
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 100 * 2**20},
    )
    added = [made.add_node(**NODE) for _ in range(nodes)]
    _wait_until_idle()
    return made, added


def _wait_until_idle(most: float = 60.0) -> None:
    """Waits until the daemons of new nodes, a dozen processes, have started."""
    until = time.monotonic() + most
    while psutil.cpu_percent(3.0) > 10 and time.monotonic() < until:
        pass


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "ablab", "run", *more]


def timed(arguments: list[str], **environment: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        command(*arguments), check=True, stdout=subprocess.DEVNULL, env=os.environ | environment
    )
    return time.perf_counter() - began


def metrics(store: Path) -> pl.DataFrame:
    """All metrics of a store; the order of columns depends on which runs were stored first."""
    opened = Store(store, write=False)
    frame = read_runs(opened, sorted(run.run for run in opened.runs()))
    opened.close()
    return frame.select(sorted(frame.columns))


def wall(rounds: int, grid: list[str]) -> None:
    """The time of a grid on four nodes, beside four worker processes."""
    ratios = []
    pinned = ["--engine", "stack", "--compile", "off", "--workers", "4", "--quiet"]
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made, _ = cluster(4)
            try:
                ways = {
                    "local": [*grid, *pinned, "--executor", "worker_processes"],
                    "ray": [*grid, *pinned, "--executor", "ray", "--address", made.address],
                }
                order = list(ways) if number % 2 == 0 else list(reversed(ways))
                seconds = {
                    way: timed([*ways[way], "--store", str(folder / way)], OMP_NUM_THREADS="1")
                    for way in order
                }
            finally:
                made.shutdown()
            same = metrics(folder / "local").equals(metrics(folder / "ray"))
            ratios.append(seconds["ray"] / seconds["local"])
            print(
                f"local {seconds['local']:.1f} s, ray {seconds['ray']:.1f} s, "
                f"ratio {ratios[-1]:.3f}, metrics {'equal' if same else 'DIFFERENT'}",
                flush=True,
            )
    print(f"median ratio {statistics.median(ratios):.3f}")


def training_processes(node: Any) -> list[psutil.Process]:
    """The training processes of a node's agents."""
    found = []
    for kind in node.all_processes.get("raylet", []):
        with suppress(psutil.Error):
            for child in psutil.Process(kind.process.pid).children(recursive=True):
                if "ablab.execute.cluster.training_process" in child.cmdline():
                    found.append(child)
    return found


def pin(node: Any, core: int) -> None:
    """Keeps a node and its processes on a core."""
    for kind in node.all_processes.get("raylet", []):
        process = psutil.Process(kind.process.pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                each.cpu_affinity([core])


def slow_down(node: Any, share: float, until: threading.Event) -> None:
    """Lets a node's training processes run for only a share of the time."""
    period = 0.1
    while not until.is_set():
        found = training_processes(node)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for each in found:
                with suppress(psutil.Error):
                    each.send_signal(number)
            time.sleep(period * ((1 - share) if number == signal.SIGSTOP else share))


def unlike(rounds: int, grid: list[str]) -> None:
    """Two nodes, of which one is slowed to a third."""
    pinned = ["--engine", "stack", "--compile", "off", "--quiet"]
    for _ in range(rounds):
        seconds = {}
        for way in ("fast alone", "slow alone", "both"):
            made, nodes = cluster(2 if way == "both" else 1)
            until = threading.Event()
            try:
                for core, node in enumerate(nodes):
                    pin(node, core)
                slowed = nodes[-1] if way != "fast alone" else None
                thread = threading.Thread(
                    target=slow_down, args=(slowed, 1 / 3, until), daemon=True
                )
                if slowed is not None:
                    thread.start()
                with tempfile.TemporaryDirectory() as name:
                    seconds[way] = timed(
                        [*grid, *pinned, "--workers", "2", "--store", str(Path(name) / "lab"),
                         "--executor", "ray", "--address", made.address], OMP_NUM_THREADS="1",
                    )  # fmt: skip
            finally:
                until.set()
                made.shutdown()
        best = 1 / (1 / seconds["fast alone"] + 1 / seconds["slow alone"])
        told = ", ".join(f"{way} {each:.1f} s" for way, each in seconds.items())
        print(f"{told}, ideal {best:.1f} s, reached {best / seconds['both']:.2f}", flush=True)


KINDS = (
    "process killed", "node killed", "command killed", "process stopped", "message twice",
    "message late", "disk full",
)  # fmt: skip


class Grid:
    """A grid that is trained while faults happen."""

    def __init__(self, made: Cluster, nodes: list[Any], folder: Path, rng: random.Random) -> None:
        self.made, self.nodes, self.folder, self.rng = made, nodes, folder, rng
        self.store, self.log = folder / "disk" / "lab", folder / "log"
        self.filler = folder / "disk" / "filler"
        self.running: subprocess.Popen[bytes] | None = None
        self.commands = 0

    def start(self, trouble: str = "") -> None:
        """Gives the command, again if it has ended."""
        self.commands += 1
        self.running = subprocess.Popen(
            command(
                *GRID, "--engine", "solo", "--compile", "off", "--quiet", "--store",
                str(self.store), "--executor", "benchmarks.cluster_faults:Troubled",
                "--address", self.made.address,
            ),
            env=os.environ
            | {"ABLAB_SILENT_SECONDS": str(SILENT), "OMP_NUM_THREADS": "1"}
            | {"TROUBLE_LOG": str(self.log), "TROUBLE": trouble},
            stdout=subprocess.DEVNULL, stderr=(self.folder / "stderr").open("ab"),
        )  # fmt: skip

    def happen(self, kind: str) -> None:
        """Does something to the grid."""
        node = self.rng.choice(self.nodes)
        match kind:
            case "process killed":
                for each in training_processes(node):
                    with suppress(psutil.Error):
                        each.kill()
            case "process stopped":
                found = training_processes(node)
                for number, seconds in ((signal.SIGSTOP, SILENT / 6 + 3), (signal.SIGCONT, 0)):
                    for each in found:
                        with suppress(psutil.Error):
                            each.send_signal(number)
                    time.sleep(seconds)
            case "node killed":
                self.made.remove_node(node, allow_graceful=False)
                self.nodes.remove(node)
                self.nodes.append(self.made.add_node(**NODE))
            case "command killed":
                assert self.running is not None, "it was started"
                self.running.kill()
            case "disk full":
                with suppress(OSError), self.filler.open("wb") as file:
                    while True:
                        file.write(bytes(2**16))
                        file.flush()
                time.sleep(2)
                self.filler.unlink(missing_ok=True)


def trained_twice(log: Path) -> int:
    """The most steps of a run that were trained, lost and trained again at once."""
    seen: dict[str, int] = {}
    worst = 0
    for line in log.read_text().splitlines():
        with suppress(json.JSONDecodeError):  # cut short by a kill
            event = json.loads(line)
            for run in event["ids"]:
                if event["event"] == "claimed":
                    worst = max(worst, seen.get(run, 0) - event["from"][run])
                seen[run] = max(seen.get(run, 0), event.get("step", 0))
    return worst


def faults(count: int, seed: int) -> None:
    """Faults at random moments of small grids."""
    rng = random.Random(seed)
    counted: Counter[str] = Counter()
    unsound, unequal, twice, grids, commands = 0, 0, [], 0, 0
    with tempfile.TemporaryDirectory() as name:
        reference = Path(name) / "reference"
        timed([*GRID, "--engine", "solo", "--compile", "off", "--quiet", "--store",
               str(reference), "--workers", "1"], OMP_NUM_THREADS="1")  # fmt: skip
        expected = metrics(reference)
        made, nodes = cluster(2)
        try:
            while sum(counted.values()) < count:
                folder = Path(tempfile.mkdtemp(dir=name))
                disk = folder / "disk"
                disk.mkdir()
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(disk)],
                               check=True)  # fmt: skip
                try:
                    grid = Grid(made, nodes, folder, rng)
                    chosen = [rng.choice(KINDS) for _ in range(rng.choice([3, 4, 5, 6]))]
                    messages = [each for each in chosen if each.startswith("message")]
                    grid.start(",".join(messages))
                    for kind in chosen:
                        time.sleep(rng.uniform(1, 5))
                        if not kind.startswith("message"):
                            grid.happen(kind)
                        if grid.running is not None and grid.running.poll() is not None:
                            grid.start()
                    for _ in range(5):
                        assert grid.running is not None, "it was started"
                        if grid.running.wait(300) == 0:
                            break
                        grid.start()
                    counted.update(chosen)
                    grids, commands = grids + 1, commands + grid.commands
                    opened = Store(grid.store)
                    problems = check_store(opened).problems
                    opened.close()
                    equal = metrics(grid.store).equals(expected)
                    unsound += bool(problems)
                    unequal += not equal
                    twice.append(trained_twice(grid.log))
                    print(
                        f"{', '.join(chosen)}: {problems or 'sound'}, "
                        f"metrics {'equal' if equal else 'DIFFERENT'}, commands {grid.commands}, "
                        f"at most {twice[-1]} steps twice",
                        flush=True,
                    )
                finally:
                    subprocess.run(["umount", "-l", str(disk)], check=False)
        finally:
            made.shutdown()
    print(f"{sum(counted.values())} faults in {grids} grids, {commands} commands")
    for kind in KINDS:
        print(f"  {kind:16} {counted[kind]}")
    beyond = sum(each > INTERVAL + LOGGED for each in twice)
    print(f"unsound {unsound}, other metrics {unequal}, more than an interval twice {beyond}, "
          f"at most {max(twice)} steps twice")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["wall", "unlike", "faults"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", nargs="*", default=["attention-norms"])
    asked = parser.parse_args()
    match asked.what:
        case "wall":
            wall(asked.rounds, asked.grid)
        case "unlike":
            unlike(asked.rounds, asked.grid)
        case "faults":
            faults(asked.faults, asked.seed)


if __name__ == "__main__":
    main()
