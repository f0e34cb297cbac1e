"""Stacks on a device, for benchmarks/gpu.py; each part tells rows as soon as they are known."""

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from statistics import median
from typing import Any

from gpu_settings import HERE, Row, Settings, runs_of, tried


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
            runs = runs_of(recipe, width, count)
            if (recipe, width) not in loops:
                loops[recipe, width] = {"recipe": recipe, "width": width, "method": "loop"}
                yield from tried(loops[recipe, width], partial(_loops, settings, runs[0]))
            row: Row = {
                "recipe": recipe, "width": width, "runs": count, "method": method.title,
            }  # fmt: skip
            yield from tried(row, partial(_stack, settings, runs, method))


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
        runs = runs_of("addition", 16 + 4 * place, 5)
        made.append(Stack(runs, None, settings.device, STACK, replays=True))
        made[-1].advance(settings.pick(8, 2))
    return made


def processes(settings: Settings) -> Iterator[Row]:
    """The same shapes in several processes."""
    shapes = settings.pick(40, 4)
    for count in settings.pick((1, 2, 4), (1, 2)):
        command = [
            sys.executable, str(HERE / "gpu.py"), "--device", settings.device.type,
            "--shapes", str(shapes), "--processes", str(count), "--number",
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
