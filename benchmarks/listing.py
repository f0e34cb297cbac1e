"""Times ``ablab runs --json`` on a store of 10,000 runs, and ``ablab --help``: medians of 5.

python benchmarks/listing.py
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablab.experiments import experiment
from ablab.store import Store

RUNS = 10_000


def fill(path: Path) -> None:
    """A store of runs as if all were trained: 100 variants of 100 seeds."""
    store = Store(path, create=True)
    rates = ",".join(f"{(i + 1) * 1e-4:.4f}" for i in range(RUNS // 100))
    asked = experiment(
        "addition", "model.d_model=8", "model.n_heads=1", f"train.lr={rates}", "seeds=100"
    )
    store.register(asked, "benchmark", {})
    with store.index.transaction() as connection:
        connection.execute(
            "UPDATE runs SET step = 500, train_loss = 0.5, eval_loss = 0.6, seconds = 3, "
            "n_params = 1156"
        )
    store.close()


def median_seconds(*arguments: str) -> tuple[float, str]:
    """The median of five calls after a warm-up, and what the last one printed."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        found = subprocess.run(
            [sys.executable, "-m", "ablab", *arguments], check=True, capture_output=True, text=True
        )
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:]), found.stdout


def main() -> None:
    """Measures and prints one JSON document."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "lab")
        listing, text = median_seconds("runs", "--json", "--store", f"{folder}/lab")
        help_, _ = median_seconds("--help")
    print(
        json.dumps(
            {
                "runs": len(json.loads(text)),
                "runs_json_s": round(listing, 3),
                "help_s": round(help_, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
