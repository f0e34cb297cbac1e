"""Kernels and models on a device, for benchmarks/gpu.py; each part tells rows at once."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

from gpu_settings import HERE, Row, Settings, runs_of, tried


def tests(settings: Settings) -> Iterator[Row]:
    """The tests marked ``gpu``."""
    command = [
        sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-p", "no:cacheprovider", "-ra",
        "--show-capture=no", "-W", "ignore::DeprecationWarning",
        *(str(HERE.parent / "tests" / name) for name in ("model", "train")),
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None, "asked for a pipe"
        for line in child.stdout:  # each as soon as it is known
            if any(word in line for word in ("PASSED", "FAILED", "ERROR", "SKIPPED", " in ")):
                yield {"line": line.strip()[:300]}
            elif line.startswith("E  "):
                yield {"failed": line.strip()[:300]}
    yield {"rc": child.returncode}


def attention(settings: Settings) -> Iterator[Row]:
    """Errors and times of fused attention."""
    import torch

    from ablab.model import flex

    for length in settings.pick((1024, 4096, 16384), (64,)):
        for dtype in (torch.float32, torch.bfloat16):
            flash = None
            # A CPU's fused kernels of the others have no backward pass.
            for name in ["softmax", *(flex.NAMES if settings.cuda else ())]:
                row: Row = {"activation": name, "length": length, "dtype": str(dtype)[6:]}
                (row,) = tried(row, partial(_attention, settings, name, length, dtype))
                if name == "softmax":
                    flash = row.get("ms")
                elif flash and "ms" in row:
                    row["times_of_softmax"] = row["ms"] / flash
                yield row


def _attention(settings: Settings, name: str, length: int, dtype: Any) -> Row:
    import torch
    from fused import HEADS, fused, plain

    from ablab.model.flex import Terms

    exact = torch.float64 if length <= 4096 else torch.float32
    draw = torch.Generator().manual_seed(0)
    given = [
        torch.randn(1, HEADS, length, 64, generator=draw).to(settings.device) for _ in range(3)
    ]
    own = [each.to(dtype).requires_grad_() for each in given]

    def step(way: Any, inputs: Any) -> Any:
        out = way(name, *inputs, Terms())
        return out.detach(), *torch.autograd.grad(out.float().square().mean(), inputs)

    wanted = step(plain, [each.to(exact).requires_grad_() for each in given])
    found = step(fused, own)
    errors = [
        float((mine.to(exact) - right).abs().max() / right.abs().max())
        for mine, right in zip(found, wanted, strict=True)
    ]
    del wanted, found
    return {
        "error": errors[0],
        "gradient_error": max(errors[1:]),
        "ms": settings.milliseconds(partial(step, fused, own)),
        "plain_ms": settings.milliseconds(partial(step, plain, own)),
    }


def large(settings: Settings) -> Iterator[Row]:
    """A model that is large for ablab, alone."""
    from plain import plain_loop

    from ablab.experiments import experiment
    from ablab.train.method import SOLO, Method
    from ablab.train.stack import Stack

    size = settings.pick((512, 8, 512, 8), (32, 2, 32, 2))
    width, layers, length, batch = size
    run = experiment(
        "shakespeare-nano", "task.corpus=python-stdlib", f"task.seq_len={length}",
        f"train.batch_size={batch}", f"model.n_layers={layers}", f"model.d_model={width}",
        "model.n_heads=8", "model.dropout=0.0", "train.schedule=constant", "train.clip_norm=null",
        "train.decay=all",
    ).runs[0]  # fmt: skip

    def rate_of(make: Callable[[], Callable[[int], object]]) -> Row:
        began = time.perf_counter()
        advance = make()
        advance(1)
        settings.synchronize()
        return {
            "first_step_seconds": time.perf_counter() - began,
            "steps_per_second": median(settings.rate(advance, 3) for _ in range(settings.rounds)),
        }

    ways: dict[str, Callable[[], Callable[[int], object]]] = {
        "plain": lambda: plain_loop(run, settings.device),
        "ablab": lambda: Stack([run], None, settings.device, SOLO, replays=True).advance,
        "plain, compiled": lambda: plain_loop(run, settings.device, careful=True),
        "ablab, compiled": lambda: (
            Stack([run], None, settings.device, Method("solo", compiled=True), replays=True).advance
        ),
    }
    for name, make in ways.items():
        yield from tried({"size": size, "way": name}, partial(rate_of, make))


def watching(settings: Settings) -> Iterator[Row]:
    """What statistics cost."""
    from ablab.train.method import STACK
    from ablab.train.stack import Stack
    from ablab.watching.names import DEFAULT
    from ablab.watching.step_statistics import StepStatistics

    made = {}
    ways = {"none": None, "default, every 10": (DEFAULT, 10), "all": (("*",), 1)}
    for name, asked in ways.items():
        runs = runs_of("addition", settings.pick(32, 8), settings.pick(64, 2))
        stack = made[name] = Stack(runs, None, settings.device, STACK, replays=True)
        if asked is not None:
            patterns, every = asked
            stack.collector = StepStatistics(
                stack, patterns, lambda step, every=every: step % every == 0
            )
        stack.advance(settings.pick(10, 2))
    rates = {
        name: [settings.rate(stack.advance) for _ in range(settings.rounds)]
        for name, stack in made.items()
    }
    for name, found in rates.items():
        yield {"watched": name, "times_as_long": median(rates["none"]) / median(found)}
