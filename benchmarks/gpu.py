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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = {  # of each part, at most
    "tests": 75, "attention": 60, "stacks": 150, "shapes": 40, "processes": 55, "large": 50,
    "watching": 35,
}  # fmt: skip
Row = dict[str, Any]


class Settings:
    """Sizes and helpers for a device.

    Args:
        device: ``cuda`` or ``cpu``; the latter has small sizes.
    """

    def __init__(self, device: str) -> None:
        import torch

        self.device = torch.device(device)
        self.cuda = device == "cuda"
        self.seconds, self.rounds = (1.0, 3) if self.cuda else (0.2, 1)
        if self.cuda:
            sys.setswitchinterval(0.2e-3)  # as where ablab trains

    def pick(self, large: Any, small: Any) -> Any:
        """A size on a CUDA device, or on a CPU."""
        return large if self.cuda else small

    def synchronize(self) -> None:
        """Waits until the device has finished."""
        if self.cuda:
            import torch

            torch.cuda.synchronize()

    def rate(self, advance: Callable[[int], object], block: int = 10) -> float:
        """Calls of ``advance(block)`` for some seconds; steps per second."""
        self.synchronize()
        steps, began = 0, time.perf_counter()
        while not steps or time.perf_counter() - began < self.seconds:
            advance(block)
            self.synchronize()
            steps += block
        return steps / (time.perf_counter() - began)

    def milliseconds(self, call: Callable[[], object]) -> float:
        """The median time of a call, after one that does not count."""
        call()
        times = []
        for _ in range(3 * self.rounds):
            self.synchronize()
            began = time.perf_counter()
            call()
            self.synchronize()
            times.append(time.perf_counter() - began)
        return 1e3 * median(times)


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


def stacks(settings: Settings) -> Iterator[Row]:
    """Stacks beside the plain loop."""
    from ablab.train.method import STACK, Method

    counts = settings.pick((64, 8, 512), (3,))
    cases = [("addition", width, count) for count in counts for width in (8, 32, 128)]
    cases[3:3] = [("grokking", 128, count) for count in settings.pick((8, 64), (2,))]
    # Compiling takes a dozen seconds a shape: first the shapes that tell most.
    few = [case for case in cases if case in settings.pick(
        [("addition", 8, 64), ("addition", 32, 512), ("grokking", 128, 64)], cases[:2]
    )]  # fmt: skip
    compiled = Method("stack", compiled=True)
    ordered = [(STACK, cases), (compiled, few), (compiled, [c for c in cases if c not in few])]
    loops: dict[tuple[str, int], Row] = {}
    for method, chosen in ordered:
        for recipe, width, count in chosen:
            runs = _runs(recipe, width, count)
            if (recipe, width) not in loops:
                loops[recipe, width] = {"recipe": recipe, "width": width, "method": "loop"}
                yield from tried(loops[recipe, width], partial(_loops, settings, runs[0]))
            row: Row = {
                "recipe": recipe, "width": width, "runs": count, "method": method.title,
            }  # fmt: skip
            yield from tried(row, partial(_stack, settings, runs, method))


def _runs(recipe: str, width: int, count: int) -> Any:
    from ablab.experiments import experiment

    if recipe == "addition":
        own = ["task.target=all", "train.batch_size=512", f"model.n_heads={1 if width == 8 else 4}"]
    else:
        own = ["task.p=113", "train.loss.dtype=float32", "size=quick", "analyze=[]"]
    return experiment(recipe, *own, f"model.d_model={width}", f"seeds={count}").runs


def _loops(settings: Settings, run: Any) -> Row:
    from plain import plain_loop

    loop = plain_loop(run, settings.device)
    loop(10)
    row = {"plain": settings.rate(loop)}
    if settings.cuda:
        try:
            row["plain_graph"] = settings.rate(_graphed_loop(run))
        except Exception:  # the plain loop is known all the same
            row["plain_graph_failed"] = traceback.format_exc()
    return row


def _graphed_loop(run: Any) -> Callable[[int], None]:
    """The plain loop as a CUDA graph: the batch is copied to its place, the step is replayed."""
    import torch
    from torch.nn import functional as F

    from ablab.train.stack import initial_model, make_task

    device = torch.device("cuda")
    model, task = initial_model(run).to(device), make_task(run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.train.lr, fused=True, capturable=True)
    batch = task.draw(run.seed, 1, 10, run.train.batch_size)
    tokens = [torch.from_numpy(each).to(device) for each in batch.tokens]
    targets = [torch.from_numpy(each).to(device) for each in batch.targets]
    own_tokens, own_targets = tokens[0].clone(), targets[0].clone()

    def step() -> None:
        logits = model(own_tokens)[:, task.predicted]
        loss = F.cross_entropy(logits.flatten(0, 1), own_targets.flatten())
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()

    graph = _graphed(step)

    def advance(steps: int) -> None:
        for number in range(steps):
            own_tokens.copy_(tokens[number % len(tokens)])
            own_targets.copy_(targets[number % len(targets)])
            graph.replay()

    return advance


def _stack(settings: Settings, runs: Any, method: Any) -> Row:
    import torch

    from ablab.train.stack import Stack

    if settings.cuda:
        with suppress(RuntimeError):  # some releases of torch refuse after a failed recording
            torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    row: Row = {}
    for way in ("launched", "replayed") if settings.cuda else ("launched",):
        stack = Stack(runs, None, settings.device, method, replays=way == "replayed")
        began = time.perf_counter()
        stack.advance(1)
        settings.synchronize()
        if not row:
            row["first_step_seconds"] = time.perf_counter() - began
        stack.advance(9)
        rounds = settings.rounds if way == "replayed" else 1
        rates = [settings.rate(stack.advance) for _ in range(rounds)]
        row[f"steps_per_second_{way}"] = len(runs) * median(rates)
        row["phases_ms"] = {name: 1e3 * s for name, s in stack.timings.per_step().items()}
        if way == "replayed" and not stack.calls.replays:
            row["not_replayed"] = stack.calls.failures
        if settings.cuda:
            row[f"peak_gib_{way}"] = torch.cuda.max_memory_reserved() / 2**30
        stack.release()
    return row


def _graphed(call: Callable[[], object]) -> Any:
    """A call as a CUDA graph."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        call()
    return graph


def shapes(settings: Settings) -> Iterator[Row]:
    """Many small stacks of different shapes, one after another and on several streams."""
    import torch

    made = _stacks(settings, range(settings.pick(40, 3)))
    count = len(made)

    def in_turn(steps: int) -> None:
        for stack in made:
            stack.advance(steps)

    row: Row = {"shapes": count, "runs": 5}
    yield row | {"streams": 1, "steps_per_second": 5 * count * settings.rate(in_turn, 5)}
    for streams in (2, 4, 8) if settings.cuda else (2,):
        with ThreadPoolExecutor(streams) as threads:

            def share(number: int, steps: int, streams: int = streams) -> None:
                own = torch.cuda.Stream() if settings.cuda else None
                with nullcontext() if own is None else torch.cuda.stream(own):
                    for stack in made[number::streams]:
                        stack.advance(steps)

            def at_once(steps: int, streams: int = streams, threads: Any = threads) -> None:
                list(threads.map(share, range(streams), [steps] * streams))

            rate = 5 * count * settings.rate(at_once, 5)
        yield row | {"streams": streams, "steps_per_second": rate}


def _stacks(settings: Settings, places: Sequence[int]) -> Any:
    """Stacks of different shapes, which have begun to be replayed."""
    from ablab.train.method import STACK
    from ablab.train.stack import Stack

    made = []
    for place in places:
        runs = _runs("addition", 16 + 4 * place, 5)
        made.append(Stack(runs, None, settings.device, STACK, replays=True))
        made[-1].advance(settings.pick(8, 2))
    return made


def processes(settings: Settings) -> Iterator[Row]:
    """The same shapes in several processes."""
    shapes = settings.pick(40, 4)
    for count in settings.pick((1, 2, 4), (1, 2)):
        command = [
            sys.executable, __file__, "--device", settings.device.type, "--shapes", str(shapes),
            "--processes", str(count), "--number",
        ]  # fmt: skip
        threads = str(max(1, (os.cpu_count() or 1) // count))
        children = [
            subprocess.Popen(
                [*command, str(number)], env=os.environ | {"OMP_NUM_THREADS": threads},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for number in range(count)
        ]  # fmt: skip
        for child in children:
            assert child.stdout is not None, "asked for a pipe"
            child.stdout.readline()  # it is ready
        for child in children:
            assert child.stdin is not None, "asked for a pipe"
            child.stdin.write("go\n")
            child.stdin.flush()
        rates = [child.communicate()[0] for child in children]
        yield {
            "shapes": shapes, "runs": 5, "processes": count,
            "steps_per_second": sum(map(float, rates)),
        }  # fmt: skip


def one_process(device: str, shapes: int, count: int, number: int) -> None:
    """One of the processes: says that it is ready, waits for the others, prints its rate."""
    settings = Settings(device)
    made = _stacks(settings, range(number, shapes, count))
    print("ready", flush=True)
    sys.stdin.readline()

    def in_turn(steps: int) -> None:
        for stack in made:
            stack.advance(steps)

    settings.seconds *= 3
    print(5 * len(made) * settings.rate(in_turn, 5), flush=True)


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
        runs = _runs("addition", settings.pick(32, 8), settings.pick(64, 2))
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


PARTS: dict[str, Callable[[Settings], Iterator[Row]]] = {
    "tests": tests, "attention": attention, "stacks": stacks, "shapes": shapes,
    "processes": processes, "large": large, "watching": watching,
}  # fmt: skip


def tried(row: Row, measure: Callable[[], Row]) -> Iterator[Row]:
    """A row with what is measured, or with the traceback."""
    try:
        row.update(measure())
    except Exception:
        row["failed"] = traceback.format_exc()
    yield row


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
