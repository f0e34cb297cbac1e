"""A grid by ablab beside PyTorch loops over its runs, side by side.

    python benchmarks/engines.py [--rounds 5] [--cases w8h1 …] [--engines] [--out FOLDER]

Each round times, one after the other, the plain loop (an ordinary module, fused attention, torch's
fused AdamW, no logging, two threads), the best that torch alone does (the same loop under
``torch.compile``, which computes only the positions that the loss needs, in two processes of one
thread), and ``ablab run`` of a grid of 16 runs, once with its compiled programs kept from before
and once with an empty cache. Prints medians as Markdown, and writes them as JSON to FOLDER.

What is measured, in steps of one run per second:

- ``plain``: blocks of steps of the loop, drawing its batches as it goes.
- ``compiled``: blocks of steps of the compiled loop in two processes, together.
- ``steady``: ablab's grid from the moment its first losses are known to its end, so without the
  start of its processes and without compiling.
- ``whole``: the same grid of 1,500 steps from the command to its end, everything in it, with an
  empty cache. Fewer steps are trained here to save time, by the method that the plan chooses for
  all 1,500; the rest is taken at the steady rate, and the table says so. For the compiled loop,
  the same from its command to its end, with an empty cache.

``--engines`` also runs each engine by itself, for a round, to see whether ``auto`` chose well.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RUNS, STEPS = 16, 1500
_ADDITION = ["addition", "task.target=all", "train.batch_size=512", "train.lr=1e-3"]
_TEXT = [
    "shakespeare-nano", "task.corpus=python-stdlib", "task.seq_len=64", "train.batch_size=64",
    "model.n_layers=1", "model.d_model=64", "model.n_heads=8", "model.dropout=0.0",
    "train.schedule=constant", "train.clip_norm=null", "train.decay=all",
]  # fmt: skip


def _addition(width: int, heads: int) -> list[str]:
    return [*_ADDITION, f"model.d_model={width}", f"model.n_heads={heads}"]


# The experiment, and how many of the 1,500 steps are trained here in each round.
CASES: dict[str, tuple[list[str], int]] = {
    "w8h1": (_addition(8, 1), 500),
    "w8h4": (_addition(8, 4), 500),
    "w32h4": (_addition(32, 4), 120),
    "w128h4": (_addition(128, 4), 16),
    "text": (_TEXT, 40),
}
ENGINES = {
    "solo": ["--engine", "solo", "--compile", "off"],
    "stack": ["--engine", "stack", "--compile", "off"],
    "solo compiled": ["--engine", "solo", "--compile", "on"],
    "stack compiled": ["--engine", "stack", "--compile", "on"],
    "auto": [],
}


def overrides(case: str, steps: int) -> list[str]:
    """A case's experiment, with little else than training in it."""
    return [
        *CASES[case][0],
        f"train.steps={steps}",
        f"train.evaluate.every={STEPS}",
        "train.evaluate.samples=512",
        f"train.snapshots.every={STEPS}",
        "seeds=16",
    ]


def plain_child(case: str, seconds: float, careful: bool) -> None:
    """Steps of a loop for some seconds; prints steps a second, and the seconds before them."""
    entered = time.perf_counter()
    import torch
    from plain import plain_loop

    from ablab.experiments import experiment

    torch.set_num_threads(1 if careful else 2)
    advance = plain_loop(experiment(*overrides(case, STEPS)).runs[0], careful=careful)
    advance(10)
    before = time.perf_counter() - entered
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        advance(10)
        steps += 10
    print(json.dumps({"rate": steps / (time.perf_counter() - began), "before": before}))


def grid_child(case: str, steps: int, choices: list[str]) -> None:
    """A grid by ablab in a store of its own; prints its rate and what came before it."""
    began = time.perf_counter()
    from ablab.cli.common import make_options
    from ablab.execute.orchestrate import orchestrate
    from ablab.execute.progress import Reporter
    from ablab.execute.status import QuietStatus
    from ablab.experiments import experiment
    from ablab.store.store import Store

    class Clock(Reporter):
        """Notes when each step of each run was told."""

        def __init__(self) -> None:
            super().__init__(QuietStatus())
            self.first: tuple[float, int] | None = None
            self.last: tuple[float, int] = (0.0, 0)
            self.texts: list[str] = []
            self.methods: set[str] = set()

        def event(self, event: dict[str, Any]) -> None:
            """Takes an event."""
            super().event(event)
            if event["event"] == "progress":
                self.progress(event)
            if event["event"] == "pace":
                self.methods.add(json.dumps(event["method"]))

        def progress(self, event: dict[str, Any]) -> None:
            """Takes a logged step."""
            now = (time.perf_counter(), self.done)
            # The second worker's start, too, comes before the rate is taken.
            if self.first is None and len(self._begun(event)) >= 2:
                self.first = now
            self.last = now

        def _begun(self, event: dict[str, Any]) -> set[int]:
            self._stacks = getattr(self, "_stacks", set()) | {event["stack"]}
            return self._stacks

        def message(self, text: str) -> None:
            """Takes a message."""
            self.texts.append(text)

        def warn(self, text: str) -> None:
            """Takes a warning."""
            self.texts.append(text)

        def close(self) -> None:
            """Nothing is open."""

    option = dict(zip(choices[::2], choices[1::2], strict=True))
    options = make_options(
        device="cpu",
        engine=option.get("--engine", "auto"),
        compiling=option.get("--compile", "auto"),
    )
    folder = tempfile.mkdtemp()
    clock = Clock()
    store = Store(folder, create=True)
    orchestrate(experiment(*overrides(case, steps)), store, options, "", clock, lambda: False)
    ended = time.perf_counter()
    store.close()
    shutil.rmtree(folder)
    assert clock.first is not None, "the grid has told of its progress"
    rate = (clock.last[1] - clock.first[1]) / (clock.last[0] - clock.first[0])
    print(
        json.dumps(
            {
                "rate": rate,
                "before": clock.first[0] - began,
                "total": ended - began,
                "methods": sorted(clock.methods),
                "texts": clock.texts,
            }
        )
    )


def call(arguments: list[str], cache: Path) -> dict[str, Any]:
    """What a child of this program prints, and its whole time from outside."""
    env = os.environ | {"ABLAB_CACHE": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "ind")}
    env.pop("OMP_NUM_THREADS", None)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, *arguments], env=env, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout.splitlines()[-1]) | {"wall": time.perf_counter() - began}


def call_two(case: str, seconds: str, cache: Path) -> dict[str, float]:
    """The compiled loop in two processes at the same time: their rates together."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: call(["--careful", case, seconds], cache), range(2)))
    rate = sum(each["rate"] for each in found)
    before = max(each["before"] for each in found)
    return {"rate": rate, "whole": RUNS * STEPS / (before + RUNS * STEPS / rate)}


def measure(case: str, rounds: int, cold_rounds: int, engines: bool) -> dict[str, Any]:
    """One case's medians."""
    steps = CASES[case][1]
    warm = Path(tempfile.mkdtemp())
    plain, compiled, compiled_whole = [], [], []
    steady, whole, before = [], [], []
    choice = _pin(case)
    call(["--grid", case, str(steps), *choice], warm)  # fills the cache
    call(["--careful", case, "1"], warm)
    for number in range(rounds):
        plain.append(call(["--plain", case, "5"], warm)["rate"])
        compiled.append(call_two(case, "5", warm)["rate"])
        steady.append(call(["--grid", case, str(steps), *choice], warm)["rate"])
        if number < cold_rounds:
            cold = Path(tempfile.mkdtemp())
            compiled_whole.append(call_two(case, "5", cold)["whole"])
            shutil.rmtree(cold)
            cold = Path(tempfile.mkdtemp())
            found = call(["--grid", case, str(steps), *choice], cold)
            shutil.rmtree(cold)
            rest = RUNS * (STEPS - steps) / found["rate"]
            whole.append(RUNS * STEPS / (found["wall"] + rest))
            before.append(found["before"])
        said = f"{plain[-1]:.1f} {compiled[-1]:.1f} {steady[-1]:.1f}"
        print(f"{case} round {number + 1}: {said}", file=sys.stderr)
    result: dict[str, Any] = {
        "plain": statistics.median(plain),
        "compiled": statistics.median(compiled),
        "steady": statistics.median(steady),
        "compiled_ratio": statistics.median(a / b for a, b in zip(steady, compiled, strict=True)),
        "compiled_whole_ratio": statistics.median(whole) / statistics.median(compiled_whole),
        "steady_ratio": statistics.median(a / b for a, b in zip(steady, plain, strict=True)),
        "whole": statistics.median(whole),
        "whole_ratio": statistics.median(whole) / statistics.median(plain),
        "before_cold": statistics.median(before),
        "steps": steps,
        "rounds": {
            "plain": plain,
            "compiled": compiled,
            "compiled_whole": compiled_whole,
            "steady": steady,
            "whole": whole,
        },
    }
    if engines:
        few = max(16, steps // 3)
        result["engines"] = {}
        for name, choices in ENGINES.items():
            asked = choice if name == "auto" else choices
            found = call(["--grid", case, str(few), *asked], warm)
            result["engines"][name] = {"rate": found["rate"], "methods": found["methods"]}
    shutil.rmtree(warm)
    return result


def _pin(case: str) -> list[str]:
    """What ``auto`` chooses for the whole grid, for a round that trains fewer steps of it."""
    env = os.environ | {"ABLAB_CACHE": tempfile.mkdtemp()}
    done = subprocess.run(
        [sys.executable, "-m", "ablab", "plan", *overrides(case, STEPS), "--json", "--device",
         "cpu", "--store", tempfile.mkdtemp()],
        env=env, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    stack = json.loads(done.stdout)["stacks"][0]
    return ["--engine", stack["engine"], "--compile", "on" if stack["compiled"] else "off"]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold-rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--engines", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    results = {}
    for case in arguments.cases:
        results[case] = measure(case, arguments.rounds, arguments.cold_rounds, arguments.engines)
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            path = arguments.out / "engines.json"
            path.write_text(json.dumps(results, indent=1))
    print(
        "| case | plain loop, steps/s | compiled loops | ablab, steady | beside plain, compiled "
        "| whole, cold | beside plain, compiled | before |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case, found in results.items():
        note = f" ({found['steps']} steps of {STEPS})"
        print(
            f"| {case}{note} | {found['plain']:.1f} | {found['compiled']:.1f} "
            f"| {found['steady']:.1f} "
            f"| {found['steady_ratio']:.2f}×, {found['compiled_ratio']:.2f}× "
            f"| {found['whole']:.1f} "
            f"| {found['whole_ratio']:.2f}×, {found['compiled_whole_ratio']:.2f}× "
            f"| {found['before_cold']:.1f} s |"
        )
    for case, found in results.items():
        for name, engine in found.get("engines", {}).items():
            print(f"{case}, {name}: {engine['rate']:.1f} steps/s")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("--plain", "--careful"):
        plain_child(sys.argv[2], float(sys.argv[3]), sys.argv[1] == "--careful")
    elif len(sys.argv) > 1 and sys.argv[1] == "--grid":
        grid_child(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    else:
        main()
