"""The Shakespeare logbook's second section: seconds per epoch by device, batch and compiling.

    python benchmarks/ladder.py [--section "1 bigram"] [--batch 64 1024] [--rounds 7]

For each batch size and device, blocks of steps of a plain PyTorch loop (an ordinary module, torch's
Adam, no logging), of the same loop under ``torch.compile``, and of ablab's step, eager and
compiled, alternate in one run. Printed are the median seconds of an epoch over all windows of
stride 1, their range, the plain loop's time over each, and the command that trains it so.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from plain import plain_loop

from ablab.execute.memory import retain_freed_memory
from ablab.experiments import experiment
from ablab.train.method import SOLO, Method
from ablab.train.run import Run
from ablab.train.stack import Stack

LOGBOOK = {("cpu", 64, "plain"): 6.54, ("mps", 64, "plain"): 33.88,
           ("cpu", 1024, "plain"): 2.05, ("cpu", 1024, "plain, compiled"): 2.35}  # fmt: skip


def ablab_loop(run: Run, device: torch.device, compiled: bool) -> Callable[[int], None]:
    """The same by ablab's step; on a CPU the compiled program has the batch innermost."""
    method = SOLO
    if compiled and device.type == "cpu":
        method = Method("solo", compiled=True, layout="innermost", attention="plain")
    elif compiled:
        method = Method("solo", compiled=True)
    stack = Stack([run], [None], device, method)
    return lambda steps: (stack.advance(steps), None)[1]


def seconds(advance: Callable[[int], None], steps: int, device: torch.device) -> float:
    """Seconds for each step of a block."""
    began = time.perf_counter()
    advance(steps)
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
    return (time.perf_counter() - began) / steps


def measure(section: str, batch: int, device: torch.device, options: argparse.Namespace) -> None:
    """Prints the rows of one batch size on one device."""
    settings = [f"section='{section}'", f"train.batch_size={batch}", "train.epochs=1", "seeds=1"]
    asked = experiment("shakespeare-ladder", *settings)
    (run,) = asked.runs
    loops = {
        "plain": plain_loop(run, device, compiled=False),
        "plain, compiled": plain_loop(run, device, compiled=True),
        "ablab": ablab_loop(run, device, compiled=False),
        "ablab, compiled": ablab_loop(run, device, compiled=True),
    }
    command = f"ablab run shakespeare-ladder \"section='{section}'\" train.batch_size={batch}"
    blocks, times = {}, {name: [] for name in loops}
    for name, advance in loops.items():
        advance(3)  # compiles
        blocks[name] = max(1, round(options.seconds / seconds(advance, 10, device)))
    for _ in range(options.rounds):
        for name, advance in loops.items():
            times[name].append(run.train.steps * seconds(advance, blocks[name], device))
    for name, found in times.items():
        ratio = statistics.median(p / a for p, a in zip(times["plain"], found, strict=True))
        theirs = LOGBOOK.get((device.type, batch, name)) if section == "1 bigram" else None
        how = f"{command} --device {device.type} --compile {'on' if 'comp' in name else 'off'}"
        span = f"{min(found):.2f} to {max(found):.2f}"
        command_cell = f"`{how}`" if name.startswith("ablab") else ""
        cells = [device.type, batch, name, f"{statistics.median(found):.2f}", span]
        cells += [f"{ratio:.2f}", theirs or "", command_cell]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", default="1 bigram")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one block")
    options = parser.parse_args()
    retain_freed_memory()
    devices = ["cpu"]
    devices += ["cuda"] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| device | batch | loop | s / epoch | range | plain over it | the logbook's | command |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for device in devices:
        for batch in options.batch:
            measure(options.section, batch, torch.device(device), options)


if __name__ == "__main__":
    main()
