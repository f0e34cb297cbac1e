"""Time from the command to the first training step: eager and compiled, cache cold and warm.

    python benchmarks/startup.py [--rounds 3]

Runs ``ablab run`` on 16 runs of width 8 and stops it after the first logged steps; prints medians.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ASKED = ["addition", "model.d_model=8", "model.n_heads=1", "train.batch_size=512", "seeds=16"]


def first_step(choices: list[str], cache: Path) -> float:
    """Seconds from the command to the first step that it tells of."""
    program = (
        "import os, sys, time; from ablab.execute import progress as p\n"
        "p.Reporter.event = lambda self, event: event['event'] == 'progress' and os._exit(0)\n"
        "from ablab.cli.main import main; sys.argv[0] = 'ablab'; main()"
    )
    store = tempfile.mkdtemp()
    env = os.environ | {"ABLAB_CACHE": str(cache)}
    env.pop("TORCHINDUCTOR_CACHE_DIR", None)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, "run", *ASKED, *choices, "--store", store],
        env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    shutil.rmtree(store)
    return seconds


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        cache = Path(tempfile.mkdtemp())
        for workers in ("1", "2"):
            for name, choices in {"eager": "off", "compiled": "on"}.items():
                for state in ("cold", "warm"):
                    if state == "cold":
                        shutil.rmtree(cache)
                        cache.mkdir()
                    given = ["--compile", choices, "--engine", "stack", "--workers", workers]
                    key = f"{name}, {workers} workers, {state}"
                    found.setdefault(key, []).append(first_step(given, cache))
        shutil.rmtree(cache)
    print(json.dumps({name: round(statistics.median(v), 1) for name, v in found.items()}))


if __name__ == "__main__":
    main()
