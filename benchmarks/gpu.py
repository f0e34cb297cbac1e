"""Stacks on a CUDA device beside a plain PyTorch loop there, side by side.

    python benchmarks/gpu.py [--widths 8 32 128] [--runs 8 64 512] [--seconds 2] [--rounds 3]
                             [--compiled 64] [--budget 300] [--out FILE]

The plain loop is an ordinary module with fused attention and torch's fused AdamW, one run after
another, its batches copied as it goes, nothing logged. A stack is what ``ablab run`` trains,
without statistics, evaluation or a store. Both train the recipe ``addition`` with a batch of 512.
Every round times the loop and the stack one after the other, and the medians of the rounds are
shown: in steps of one run per second, and as their ratio. Peak memory is the allocator's.
``--compiled`` names the stack sizes that are timed compiled as well; the seconds until its first
step is done are a column of their own. Rows that no time is left for are named.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from plain import plain_loop

from ablab.experiments import experiment
from ablab.train.method import STACK, Method
from ablab.train.stack import Stack

CUDA = torch.device("cuda")
COMPILED = Method("stack", compiled=True)
_COLUMNS = (
    "| width | runs | method | plain, steps/s | stack, run-steps/s | ratio | first step, s "
    "| peak, GiB |"
)


def rate(advance, block: int, seconds: float) -> float:
    """Calls of ``advance(block)`` for some seconds; steps per second."""
    torch.cuda.synchronize()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        advance(block)
        torch.cuda.synchronize()
        steps += block
    return steps / (time.perf_counter() - began)


def runs_of(width: int, count: int) -> list:
    """So many runs of one shape."""
    heads = 1 if width == 8 else 4
    given = ["task.target=all", "train.batch_size=512", f"model.d_model={width}"]
    return experiment("addition", *given, f"model.n_heads={heads}", f"seeds={count}").runs


def row(width: int, count: int, method: Method, options: argparse.Namespace) -> dict:
    """Times one stack beside the loop."""
    runs = runs_of(width, count)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    found = {"width": width, "runs": count, "method": method.title}
    try:
        stack = Stack(runs, None, CUDA, method)
        began = time.perf_counter()
        stack.advance(1)
        torch.cuda.synchronize()
        found["first"] = time.perf_counter() - began
        loop = plain_loop(runs[0], CUDA)
        stack.advance(10)
        loop(10)
        pairs = [
            (rate(loop, 10, options.seconds), count * rate(stack.advance, 10, options.seconds))
            for _ in range(options.rounds)
        ]
    except torch.OutOfMemoryError as error:
        return found | {"error": str(error).splitlines()[0][:60]}
    found["plain"], found["stack"] = (statistics.median(each) for each in zip(*pairs, strict=True))
    found["ratio"] = statistics.median(stacked / plain for plain, stacked in pairs)
    found["peak"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", nargs="+", type=int, default=[8, 32, 128])
    parser.add_argument("--runs", nargs="+", type=int, default=[8, 64, 512])
    parser.add_argument("--compiled", nargs="*", type=int, default=[64])
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing, in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for all rows")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began, rows = time.perf_counter(), []
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n\n{_COLUMNS}")
    print("| " + " | ".join(["---"] * 8) + " |", flush=True)
    cases = [(w, n, STACK) for n in options.runs for w in options.widths]
    cases += [(w, n, COMPILED) for n in options.compiled for w in options.widths]
    for width, count, method in cases:
        if time.perf_counter() - began > options.budget:
            print(f"no time left for width {width}, {count} runs, {method.title}", flush=True)
            continue
        found = row(width, count, method, options)
        rows.append(found)
        head = f"| {width} | {count} | {found['method']} "
        if "error" in found:
            print(f"{head}| {found['error']} |", flush=True)
            continue
        print(
            f"{head}| {found['plain']:.0f} | {found['stack']:,.0f} | {found['ratio']:.1f} "
            f"| {found['first']:.1f} | {found['peak']:.2f} |",
            flush=True,
        )
        if options.out is not None:
            options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
