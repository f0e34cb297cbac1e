"""How long experiments take, as a ratio to the estimates of their plans.

A dozen small experiments are planned and trained, first without any measurements of this machine
and then, with other seeds, with those that the first round has left, in the same store. For each:
the estimated range, the actual seconds, their ratio to the estimate, and whether they are within
30% of it or within the range.

    python benchmarks/plan_accuracy.py [--steps 1.0] [--clock wall|cpu] [--only NAME …]

The load of the machine is printed, because others that use it change the ratios. On a machine that
is never idle, ``--clock cpu`` counts the seconds that this process computes, in one thread.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

os.environ["ABLAB_CACHE"] = tempfile.mkdtemp(prefix="ablab-accuracy-")

import ablab
from ablab.execute.speeds import Speeds

_ADDITION = {"kind": "addition", "n_digits": 3, "target": "all"}
_SMALL = {"kind": "transformer", "d_model": 8, "n_heads": 1}
_MEDIUM = {"kind": "transformer", "d_model": 32, "n_heads": 4}
_WIDE = {"kind": "transformer", "d_model": 128, "n_heads": 4}
_DEEP = {"kind": "transformer", "n_layers": 4, "d_model": 32, "n_heads": 4}
# Name: task, model, settings of training, other settings.
SHAPES: dict[str, tuple[dict, dict, dict, dict]] = {
    "narrow": (_ADDITION, _SMALL, {"steps": 1500, "batch_size": 64}, {}),
    "narrow-large-batch": (_ADDITION, _SMALL, {"steps": 400, "batch_size": 512}, {}),
    "medium": (_ADDITION, _MEDIUM, {"steps": 400, "batch_size": 64}, {}),
    "medium-large-batch": (_ADDITION, _MEDIUM, {"steps": 100, "batch_size": 512}, {}),
    "wide": (_ADDITION, _WIDE, {"steps": 100, "batch_size": 128}, {}),
    "deep": (_ADDITION, _DEEP, {"steps": 150, "batch_size": 64}, {}),
    "one-run": (_ADDITION, _MEDIUM, {"steps": 800, "batch_size": 64}, {"seeds": 1}),
    "evaluated-often": (
        _ADDITION,
        _MEDIUM,
        {"steps": 200, "batch_size": 64, "evaluate": {"every": 5, "samples": 1024}},
        {},
    ),
    "watched": (
        _ADDITION,
        _MEDIUM,
        {"steps": 200, "batch_size": 64},
        {"watch": {"every": 5, "statistics": ["all"]}},
    ),
    "text": (
        {"kind": "text", "corpus": "python-stdlib", "seq_len": 64},
        _MEDIUM,
        {"steps": 150, "batch_size": 16},
        {},
    ),
    "bigram": (_ADDITION, {"kind": "bigram"}, {"steps": 3000, "batch_size": 64}, {}),
    "two-shapes": (
        _ADDITION,
        _SMALL,
        {"steps": 500, "batch_size": 64},
        {"grid": {"model.d_model": [8, 16]}},
    ),
    "stops-early": (
        {"kind": "addition", "n_digits": 2, "target": "all"},
        {"kind": "transformer", "d_model": 16, "n_heads": 4},
        {"steps": 8000, "batch_size": 256, "stop": {"measure": "eval_loss", "below": 0.5}},
        {"grid": {"train.lr": [0.01, 0.003]}},
    ),
}


def train(name: str, first_seed: int, scale: float, store: Path) -> dict[str, float]:
    """Plans and trains an experiment; its estimate and its actual seconds."""
    task, model, training, other = SHAPES[name]
    count = other.get("seeds", 3)
    settings = {
        "name": name,
        "task": task,
        "model": model,
        "train": training | {"steps": max(10, round(training["steps"] * scale))},
        **other,
        "seeds": list(range(first_seed, first_seed + count)),
    }
    with contextlib.redirect_stderr(io.StringIO()):
        ablab.run(ablab.experiment(settings), store=store, workers=1, quiet=True)
    return Speeds().estimates[-1]


def main() -> None:
    """Prints a table for each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=float, default=1.0, help="times as many steps")
    parser.add_argument("--only", nargs="*", default=list(SHAPES))
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    chosen = parser.parse_args()
    if chosen.clock == "cpu":
        os.environ["OMP_NUM_THREADS"] = "1"
        time.perf_counter = time.monotonic = time.process_time
    folder = Path(tempfile.mkdtemp(prefix="ablab-accuracy-"))
    for number, title in enumerate(("without measurements", "with measurements")):
        print(f"\n{title}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'experiment':20} {'estimate':>9} {'range':>17} {'actual':>8} {'ratio':>6}")
        hits = 0
        for name in chosen.only:
            found = train(name, 100 * number, chosen.steps, folder / name)
            ratio = found["measured"] / found["estimated"]
            inside = found["low"] <= found["measured"] <= found["high"]
            hits += inside or 1 / 1.3 <= ratio <= 1.3
            print(
                f"{name:20} {found['estimated']:8.1f}s "
                f"{found['low']:7.1f} to {found['high']:5.1f}s {found['measured']:7.1f}s "
                f"{ratio:6.2f}{'' if inside else '  outside'}",
                flush=True,
            )
        print(f"within 30% or within the range: {hits} of {len(chosen.only)}")


if __name__ == "__main__":
    main()
