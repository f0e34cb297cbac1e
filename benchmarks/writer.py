"""How many shipments one command can publish, and how many agents that serves.

    python benchmarks/writer.py [--stacks 200] [--parameters 1000 100000]

Measures :func:`ablab.store.homeward.receive` on shipments of stacks of five runs: 100 logged steps
of 20 columns and a snapshot with optimizer state for each run. Then a discrete-event simulation of
one writer and N agents, each of which has a shipment every few seconds of training and waits with
the next one until the last was published: how long shipments wait, and how busy the writer is. The
time to find and lend the next stack is that of :meth:`Owner.acquire`, :meth:`Owner.lend` and
:func:`ablab.store.outward.outward`.
"""

import argparse
import heapq
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file

from ablab.experiments import experiment
from ablab.store.digests import record_digests, write_digested
from ablab.store.homeward import homeward, receive
from ablab.store.leases import Owner
from ablab.store.outward import outward, unload
from ablab.store.parts import add_part, write_part
from ablab.store.snapshot_files import snapshot_path
from ablab.store.store import Store

WIDTH, STEPS, COLUMNS = 5, 100, 20


def checkpoint(scratch: Store, runs: list[str], parameters: int) -> None:
    """What a checkpoint of a stack writes."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "run": [run for run in runs for _ in range(STEPS)],
            "step": list(range(1, STEPS + 1)) * len(runs),
            "train_loss": rng.random(STEPS * len(runs)),
        }
        | {f"statistic_{k}": rng.random(STEPS * len(runs)) for k in range(COLUMNS - 1)}
    )
    part = write_part(scratch, frame)
    tensors = {name: torch.rand(parameters) for name in ("theta", "m", "v")}
    files = [
        write_digested(
            scratch, snapshot_path(scratch, run, STEPS), lambda to: save_file(tensors, to)
        )
        for run in runs
    ]
    with scratch.index.transaction() as connection:
        add_part(connection, scratch, part)
        record_digests(connection, scratch, files)
        for run, file in zip(runs, files, strict=True):
            connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, 1, 1)", (run, STEPS, file.bytes)
            )
            connection.execute(
                "UPDATE runs SET step = ?, updated = 'now' WHERE id = ?", (STEPS, run)
            )


def measure(stacks: int, parameters: int) -> tuple[float, float, float]:
    """Median seconds of lending a stack and of publishing its shipment, and its bytes."""
    lending, publishing, sizes = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "lab", create=True)
        rates = ",".join(f"{(k + 1) * 1e-5:.6f}" for k in range(stacks))
        asked = experiment(
            "addition", "model.d_model=8", "model.n_heads=1", f"train.lr={rates}",
            f"seeds={WIDTH}", "train.steps=1000",
        )  # fmt: skip
        record = store.register(asked, "benchmark", {})
        with Owner(store.index.path) as owner:
            for variant in asked.variants:
                runs = [run.id for run in variant.runs]
                began = time.perf_counter()
                owner.acquire(store.index, runs)
                token = owner.lend(store.index, runs)
                scratch = Store(folder / token, create=True)
                with outward(store, record.id, runs, [], {}) as (shipment, there):
                    lending.append(time.perf_counter() - began)
                    unload(scratch, shipment, there)
                checkpoint(scratch, runs, parameters)
                outbox = folder / f"{token}-outbox"
                sent = homeward(scratch, runs, (), outbox)
                sizes.append(sent.bytes)

                def fetch(file, to, outbox=outbox):
                    shutil.copyfile(file.path(outbox), to)

                began = time.perf_counter()
                assert receive(store, sent, token, record.id, fetch)
                publishing.append(time.perf_counter() - began)
                owner.end(store.index, token)
                scratch.close()
                shutil.rmtree(folder / token)
                shutil.rmtree(outbox)
        store.close()
    return statistics.median(lending), statistics.median(publishing), statistics.median(sizes)


def simulate(
    agents: int, every: float, claim: float, lend: float, publish: float, seconds: float = 600.0
) -> tuple[float, float, float]:
    """One writer and many agents.

    Args:
        agents: The number of agents.
        every: Seconds of training between two shipments.
        claim: Seconds that a claim trains.
        lend: Seconds that lending takes the writer.
        publish: Seconds that publishing takes the writer.
        seconds: The simulated time.

    Returns:
        How busy the writer is; the mean wait of a shipment; and the share of their time that agents
        train.
    """
    rng = random.Random(0)
    busy_until, busy, waits, idle = 0.0, 0.0, [], 0.0
    ends = [rng.uniform(0, claim) for _ in range(agents)]  # when each agent's claim is trained
    events = [(rng.uniform(0, every), agent) for agent in range(agents)]  # the next shipments
    heapq.heapify(events)
    while events[0][0] < seconds:
        now, agent = heapq.heappop(events)
        is_last = now >= ends[agent]
        cost = publish + (lend if is_last else 0.0)
        busy_until = max(now, busy_until) + cost
        busy += cost
        waits.append(busy_until - now)
        if is_last:
            idle += busy_until - ends[agent]
            ends[agent] = busy_until + claim * rng.uniform(0.8, 1.2)
        following = max(busy_until, min(now + every * rng.uniform(0.8, 1.2), ends[agent]))
        heapq.heappush(events, (following, agent))
    return busy / seconds, statistics.mean(waits), max(0.0, 1 - idle / (agents * seconds))


def main() -> None:
    """Prints the measured times and the simulations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=200)
    parser.add_argument("--parameters", type=int, nargs="*", default=[1000, 100_000])
    asked = parser.parse_args()
    for parameters in asked.parameters:
        lend, publish, size = measure(asked.stacks, parameters)
        print(
            f"\n{parameters:,} parameters: lending {lend * 1e3:.1f} ms, publishing "
            f"{publish * 1e3:.1f} ms ({size / 2**20:.2f} MiB): {1 / publish:.0f} shipments a second"
        )
        print("agents  shipment every  claim  writer busy  wait of a shipment  agents train")
        for agents in (10, 100, 300, 1000):
            for every, claim in ((1, 10), (10, 60), (30, 300)):
                busy, wait, training = simulate(agents, every, claim, lend, publish)
                print(
                    f"{agents:6}  {every:12} s {claim:4} s  {min(busy, 1.0):10.0%}  "
                    f"{wait:16.2f} s  {training:11.0%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
