"""shakespeare-nano beside a plain PyTorch loop of the same model, side by side.

    python benchmarks/nano.py [--rounds 9] [--steps 10] [--train]

Alternates blocks of steps of the plain loop (an ordinary module, fused attention, torch's fused
AdamW in two groups, no logging) and of ablab's step, eager and compiled, on the same batches, and
prints the median time of a step and the ratios. The floor is the arithmetic of a step (6 operations
for each parameter and token) at the speed of matrix products, measured in the same run.

``--train`` trains the plain loop to its end and prints its held-out loss.
"""

import argparse
import json
import statistics
import time
from typing import Any

import torch
from torch.nn import functional as F

from ablab.execute.memory import retain_freed_memory
from ablab.experiments import experiment
from ablab.train.method import SOLO, Method
from ablab.train.schedules import factors
from ablab.train.stack import Stack, initial_model

RUN = experiment("shakespeare-nano").runs[0]
CPU = torch.device("cpu")
COMPILED = Method("solo", compiled=True, attention="plain")


class PlainLoop:
    """The recipe as a careful user writes it without ablab."""

    def __init__(self) -> None:
        self.config = RUN.train
        self.stack = Stack([RUN], [None], CPU, SOLO)
        self.model = initial_model(RUN)
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
            lr=self.config.lr,
            betas=self.config.betas,
            weight_decay=self.config.weight_decay or 0.0,
            fused=True,
        )
        self.step = 0

    def advance(self, steps: int) -> None:
        """Trains some steps."""
        rates = factors(self.config.schedule, self.config.schedule_total, self.step + 1, steps)
        batch = self.stack.task.draw(RUN.seed, self.step + 1, steps, self.config.batch_size)
        tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
        for k in range(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.lr * rates[k]
            logits = self.model(tokens[k])
            loss = F.cross_entropy(logits.flatten(0, 1), targets[k].flatten())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or 1e9)
            self.optimizer.step()
        self.step += steps

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The mean loss over the recipe's held-out sample."""
        batch = self.stack.task.held_out(self.config.evaluate.samples)
        logits = self.model(torch.from_numpy(batch.tokens))
        return F.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten()
        ).item()


def seconds(function: Any, steps: int) -> float:
    """Seconds for each step of a block."""
    began = time.perf_counter()
    function(steps)
    return (time.perf_counter() - began) / steps


def peak() -> float:
    """Operations a second of a large matrix product, the best of ten."""
    a = torch.randn(768, 768)
    best = min(seconds(lambda _: a @ a, 1) for _ in range(10))
    return 2 * 768**3 / best


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    retain_freed_memory()  # as in a training process of ablab; it helps the plain loop as well
    plain = PlainLoop()
    benches = {
        "eager": Stack([RUN], None, CPU, SOLO),
        "compiled": Stack([RUN], None, CPU, COMPILED),
    }
    if options.train:
        began = time.perf_counter()
        plain.advance(RUN.train.steps)
        trained = time.perf_counter() - began
        print(json.dumps({"held_out_loss": plain.held_out_loss(), "seconds": round(trained, 1)}))
        return
    loops = {"plain": plain.advance} | {name: bench.advance for name, bench in benches.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for advance in loops.values():
        advance(3)
    for _ in range(options.rounds):
        for name, advance in loops.items():
            times[name].append(seconds(advance, options.steps))
    median = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    ratios = {
        name: statistics.median(p / a for p, a in zip(times["plain"], times[name], strict=True))
        for name in benches
    }
    tokens = RUN.train.batch_size * RUN.task.input_length
    operations = 6 * benches["eager"].layout.size * tokens
    print(
        json.dumps(
            {
                "ms": {name: round(value, 2) for name, value in median.items()},
                "plain_over": {name: round(value, 3) for name, value in ratios.items()},
                "compile_seconds": round(benches["compiled"].compile_seconds, 1),
                "floor_ms": round(1e3 * operations / peak(), 2),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
