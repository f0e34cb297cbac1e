"""What ablab does on a CUDA device: one command, one JSON file, no network, eight minutes.

    python benchmarks/gpu.py [--out gpu.json] [--device cuda|cpu] [--parts tests attention …]

Each part runs in a process of its own within its own seconds, and tells each row as soon as it is
known, so that a part that fails or takes too long costs no other part and none of its own rows.
What went wrong is in the file with its traceback. ``--device cpu`` runs the same with small sizes,
to try the program where there is no such device; CUDA graphs and streams are then left out.

- ``tests``: the tests that are marked ``gpu``.
- ``attention``: fused attention for each activation and length: the errors of its result and its
  gradients beside plain products in float64 (float32 for long sequences), and the time of forward
  and backward as a multiple of FlashAttention's through torch's softmax.
- ``stacks``: stacks of 8, 64 and 512 runs of widths 8, 32 and 128 on ``addition``, and of
  ``grokking`` with its whole table as a batch, eager and compiled; beside the plain loop on the
  device, and beside the same loop replayed as a CUDA graph, which draws no batches. Steps are
  replayed as CUDA graphs, as ``ablab run`` does, and launched one by one, as with
  ``--compile off``; where they are not replayed, the row says why.
- ``shapes``: 40 shapes of 5 runs, one after another, and by several threads with a stream each.
- ``processes``: the same shapes in 1, 2 and 4 processes on one device, as with ``--workers``.
- ``large``: one model of width 512, 8 layers and length 512, beside the plain loop, eager and
  compiled.
- ``watching``: a stack with statistics and without.

Rates are steps of one run per second; the loop and the stack of a row alternate, medians are told.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from gpu_models import attention, large, tests, watching
from gpu_settings import HERE, Row, Settings
from gpu_stacks import one_process, processes, shapes, stacks

SECONDS = {  # of each part, at most
    "tests": 75, "attention": 60, "stacks": 150, "shapes": 40, "processes": 55, "large": 50,
    "watching": 35,
}  # fmt: skip


PARTS: dict[str, Callable[[Settings], Iterator[Row]]] = {
    "tests": tests, "attention": attention, "stacks": stacks, "shapes": shapes,
    "processes": processes, "large": large, "watching": watching,
}  # fmt: skip


def run_part(name: str, device: str) -> None:
    """Prints each row of a part as a line of JSON."""
    try:
        for row in PARTS[name](Settings(device)):
            print(json.dumps(row), flush=True)
    except Exception:
        print(json.dumps({"failed": traceback.format_exc()}), flush=True)


def of_part(name: str, device: str) -> Row:
    """The rows of a part, run in a process of its own within its seconds."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, __file__, "--part", name, "--device", device],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE)])},
    )  # fmt: skip
    try:
        out, err = child.communicate(timeout=SECONDS[name])
        ended = f"rc {child.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # and what it has started
        out, err = child.communicate()
        ended = f"stopped after {SECONDS[name]} s"
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found: Row = {"seconds": time.perf_counter() - began, "ended": ended, "rows": rows}
    if child.returncode != 0 or any("failed" in row for row in rows):
        found["stderr"] = err[-3000:]
    return found


def main() -> None:
    """Measures all parts and writes the file after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    for name in ("--shapes", "--processes", "--number"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.number is not None:
        one_process(asked.device, asked.shapes, asked.processes, asked.number)
        return
    if asked.part:
        run_part(asked.part, asked.device)
        return
    import torch

    name = torch.cuda.get_device_name() if asked.device == "cuda" else "cpu"
    found: Row = {"device": name, "torch": torch.__version__, "python": sys.version.split()[0]}
    for part in asked.parts:
        found[part] = of_part(part, asked.device)
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
        rows = found[part]["rows"]
        wrong = sum("failed" in row for row in rows)
        print(
            f"{part}: {len(rows)} rows, {wrong} failed, {found[part]['seconds']:.0f} s, "
            f"{found[part]['ended']}",
            flush=True,
        )
    print(f"written to {asked.out}")


if __name__ == "__main__":
    main()
