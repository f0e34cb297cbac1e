"""Analyses of runs x snapshots through ablab, beside a loop over the models with hooks.

Two kinds of work, on stored snapshots of modular addition:

- few: 16 samples; the attention pattern and the entropy of each head, and the change of the loss
  when each head of each block is replaced by its mean;
- table: all p² samples; the spectrum of each neuron over (a, b), and the loss by answer.

The loop is what a careful user writes: it loads each snapshot once, makes one clean pass, reads all
that it needs of that pass by hooks, replaces heads by hooks, computes without gradients and lets
torch use all cores. ablab computes the same numbers as analyses, through ``ablab.analysis``, and
keeps them in a store besides; they say that they read the last position alone. With ``--skip``, the
loop says so too, by ``Forward(first=…)``. Both are timed from the stored snapshots, alternating;
medians of the seconds that pass, and the least seconds of the processor, worker processes included,
which other work on the machine disturbs less.

    python benchmarks/analysis.py [--runs 16] [--rounds 3] [--only few|table] [--width 16] [--skip]
"""

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from torch.nn import functional as F

import ablab
from ablab.analysis.analysis import analysis
from ablab.analysis.chosen import choose, stored_runs
from ablab.analysis.compute import Computation
from ablab.analysis.finding import Finding
from ablab.analysis.replacement import Replacement
from ablab.analysis.request import make_request
from ablab.model.forward import Forward
from ablab.store.store import Store

FEW = 16
PATTERN, Z, POST = "blocks.{}.attn.pattern", "blocks.{}.attn.z", "blocks.{}.mlp.post"


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.double(), targets, reduction="none")


def _few_samples(task) -> tuple[torch.Tensor, torch.Tensor]:
    batch = task.held_out(FEW)
    return torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets[:, -1])


def _table(task) -> tuple[torch.Tensor, torch.Tensor]:
    batch = task.table().batch
    return torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets[:, -1])


def _entropies(pattern: torch.Tensor) -> dict[int, float]:
    """The entropy of each head at the last position, in nats."""
    own = pattern[:, :, -1].double()
    nats = -(own * own.clamp_min(1e-30).log()).sum(-1).mean(0)
    return dict(enumerate(nats.tolist()))


def _spectrum(neurons: torch.Tensor, p: int) -> np.ndarray:
    """The power of each neuron by frequency of a, (M, p // 2 + 1)."""
    grid = neurons[:, -1].T.reshape(-1, p, p)
    return torch.fft.rfft(grid, dim=1).abs().square().sum(-1).numpy()


@analysis("few", question="What do heads do?", inputs=["model", "task"], cost="a pass per head")
def few(subject, settings):
    """Entropies of heads, and the change of the loss without each."""
    tokens, targets = _few_samples(subject.task)
    config = subject.model.config
    patterns = [PATTERN.format(block) for block in range(config.n_layers)]
    last = tokens.shape[1] - 1
    clean = subject.forward(tokens, patterns, first=last)
    loss = _loss(clean.logits[:, -1], targets).mean()
    heads = [(block, head) for block in range(config.n_layers) for head in range(config.n_heads)]
    sets = [[Replacement(Z.format(block), "mean", ((2, head),))] for block, head in heads]
    found = {}
    for block in range(config.n_layers):
        for head, value in _entropies(clean.sites[patterns[block]]).items():
            found[f"entropy/{block}.{head}"] = value
    for (block, head), without in zip(
        heads, subject.forward_each(tokens, sets, first=last), strict=True
    ):
        changed = _loss(without.logits[:, -1], targets).mean()
        found[f"change/{block}.{head}"] = float(changed - loss)
    return Finding(found)


@analysis("table", question="What do neurons do?", inputs=["model", "task"], cost="one pass")
def table(subject, settings):
    """Spectra of neurons, and the loss by answer."""
    tokens, targets = _table(subject.task)
    site = POST.format(subject.model.config.n_layers - 1)
    clean = subject.forward(tokens, [site], first=tokens.shape[1] - 1)
    losses = _loss(clean.logits[:, -1], targets)
    p = subject.task.config.p
    by_answer = torch.zeros(p, dtype=torch.float64).index_add_(0, targets, losses) / p
    spectrum = _spectrum(clean.sites[site], p).astype(np.float32)
    return Finding(
        {"loss": float(losses.mean())}, arrays={"power": spectrum, "loss": by_answer.numpy()}
    )


def loop(kind: str, folder: Path, name: str, skip: bool = False) -> dict[tuple[str, int], dict]:
    """The same numbers by a loop over models with hooks."""
    found: dict[tuple[str, int], dict] = {}
    store = Store(folder)
    for run in stored_runs(store, name):
        task = run.task()
        tokens, targets = _few_samples(task) if kind == "few" else _table(task)
        first = tokens.shape[1] - 1 if skip else 0
        for step in run.snapshots:
            model = run.model(step)
            with torch.no_grad():
                own = (_few_by_hand if kind == "few" else _table_by_hand)(
                    model, tokens, targets, first
                )
            found[run.id, step] = own
    return found


def _few_by_hand(model, tokens, targets, first) -> dict[str, float]:
    seen = {}

    def reader(name):
        def read(x):
            seen[name] = x
            return x

        return read

    layers, heads = model.config.n_layers, model.config.n_heads
    names = [PATTERN.format(block) for block in range(layers)]
    logits = model(tokens, Forward(taps={name: reader(name) for name in names}, first=first))
    loss = _loss(logits[:, -1], targets).mean()
    found = {}
    for block in range(layers):
        for head, value in _entropies(seen[names[block]]).items():
            found[f"entropy/{block}.{head}"] = value
        for head in range(heads):

            def ablate(z, head=head):
                z = z.clone()
                z[:, :, head] = z[:, :, head].mean(0)
                return z

            without = model(tokens, Forward(taps={Z.format(block): ablate}, first=first))
            found[f"change/{block}.{head}"] = float(_loss(without[:, -1], targets).mean() - loss)
    return found


def _table_by_hand(model, tokens, targets, first) -> dict[str, float]:
    seen = {}

    def read(x):
        seen["post"] = x
        return x

    site = POST.format(model.config.n_layers - 1)
    logits = model(tokens, Forward(taps={site: read}, first=first))
    losses = _loss(logits[:, -1], targets)
    p = int(len(tokens) ** 0.5)
    by_answer = torch.zeros(p, dtype=torch.float64).index_add_(0, targets, losses) / p
    return {"loss": float(losses.mean()), "power": _spectrum(seen["post"], p), "by": by_answer}


def through_ablab(kind: str, folder: Path, name: str) -> Computation:
    """The same numbers as an analysis, named by import path, as worker processes need it."""
    store = Store(folder)
    request = make_request(f"{Path(__file__).stem}:{kind}")
    computation = Computation(store, choose(stored_runs(store, name), "all"), [request])
    computation.run()
    return computation


def forget(folder: Path) -> None:
    """Removes the findings of an earlier round."""
    store = Store(folder)
    with store.index.transaction() as connection:
        connection.execute("DELETE FROM findings")
        connection.execute("DELETE FROM digests WHERE path LIKE 'findings/%'")
    shutil.rmtree(folder / "findings", ignore_errors=True)


class Times:
    """Seconds of each round: those that passed, and those of the processor."""

    def __init__(self) -> None:
        self._passed: list[float] = []
        self._used: list[float] = []

    def timed(self, function: Callable, *args):
        """The result of a function, whose time is noted."""
        start, used = time.perf_counter(), sum(os.times()[:4])
        found = function(*args)
        self._passed.append(time.perf_counter() - start)
        self._used.append(sum(os.times()[:4]) - used)
        return found

    @property
    def figures(self) -> tuple[float, float]:
        """The median of the seconds that passed, and the least of those of the processor."""
        return statistics.median(self._passed), min(self._used)


def main() -> None:
    """Prints a line for each kind and width, and at the end the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["few", "table"])
    parser.add_argument("--width", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--p", type=int, default=59)
    parser.add_argument("--skip", action="store_true", help="the loop skips positions too")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, load {psutil.getloadavg()[0]:.1f}")
    for width in given.width:
        folder = Path(tempfile.mkdtemp(prefix="ablab-analysis-")) / "lab"
        asked = {
            "name": "bench",
            "task": {"kind": "modular", "p": given.p},
            "model": {"d_model": width, "n_layers": 2, "n_heads": 4},
            "train": {"steps": 8, "batch_size": 16, "snapshots": {"every": 2}},
            "seeds": given.runs,
        }
        ablab.run(asked, store=folder, quiet=True, compile="off")
        for kind in ("few", "table"):
            if given.only not in (None, kind):
                continue
            loops, own = Times(), Times()
            for _ in range(given.rounds):
                by_hand = loops.timed(loop, kind, folder, "bench", given.skip)
                forget(folder)
                done = own.timed(through_ablab, kind, folder, "bench")
            _compare(kind, folder, by_hand)
            print(f"{kind:6} width {width:4} {done.asked:4} models {_line(loops, own)}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process, training and loops included: {peak:.2f} GiB")


def _line(loops: Times, own: Times) -> str:
    words = [
        f"{what} {loop_s:6.2f} s {ablab_s:6.2f} s {loop_s / ablab_s:5.2f}x"
        for what, loop_s, ablab_s in zip(
            ("passed", "processor"), loops.figures, own.figures, strict=True
        )
    ]
    return f"  loop, ablab: {'; '.join(words)}"


def _compare(kind: str, folder: Path, by_hand: dict) -> None:
    """Compares the numbers of both ways."""
    from ablab.store.findings import list_findings, read_finding

    store = Store(folder)
    for each in list_findings(store, {run for run, _ in by_hand}):
        other = by_hand.get((each.run, each.step))
        if other is None:
            continue
        for name in each.scalars:
            np.testing.assert_allclose(each.scalars[name], other[name], rtol=1e-3, atol=1e-5)
        if kind == "table":
            own = read_finding(store, each.run, each.step, each.name).arrays["power"]
            np.testing.assert_allclose(own, other["power"], rtol=1e-2, atol=1e-3)


if __name__ == "__main__":
    main()
