"""The size of an entry's page, the time to write it, and until it can be used in a browser.

python benchmarks/page_size.py [--variants 200] [--seeds 5] [--steps 10000]

The store is filled with made-up curves: a training loss at each step that stays at log 10, falls at
a random step and has noise, and evaluations at 100 steps. Nothing is trained. The time in the
browser is that from the start of the navigation to the second frame after all scripts have run,
the median of three; it needs Chromium.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import polars as pl

import ablab
from ablab.logbook.entry import write_entry
from ablab.store.parts import add_part, write_part
from ablab.store.store import Store

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_TELL = """<script>requestAnimationFrame(() => requestAnimationFrame(() => {
  const charts = document.querySelectorAll(".u-over").length;
  fetch("/ready?ms=" + performance.now() + "&curves=" + charts);
}));</script>"""


def made_store(path: Path, variants: int, seeds: int, steps: int):
    """A store with one experiment of ``variants`` learning rates."""
    rates = [float(f"{rate:.4g}") for rate in np.geomspace(1e-5, 1e-1, variants)]
    asked = ablab.experiment(
        {
            "name": "page-size",
            "question": "How large is the page?",
            "task": {"kind": "addition"},
            "train": {"steps": steps},
            "grid": {"train.lr": rates},
            "seeds": seeds,
        }
    )
    store = Store(path, create=True)
    environment = {
        "packages": {"torch": "0"}, "python": "3", "processor": "none", "cores": 1,
        "memory": "1 GiB", "system": "none", "commit": None,
    }  # fmt: skip
    record = store.register(asked, "python benchmarks/page_size.py", environment)
    rng = np.random.default_rng(0)
    for variant in asked.variants:
        frame = pl.concat([_rows(run.id, steps, rng) for run in variant.runs])
        part = write_part(store, frame)
        with store.index.transaction() as connection:
            add_part(connection, store, part)
    with store.index.transaction() as connection:
        connection.execute(
            "UPDATE runs SET step = ?, seconds = 30, n_params = 10000, train_loss = 0.1", (steps,)
        )
    return store, record


def _rows(run: str, steps: int, rng: np.random.Generator) -> pl.DataFrame:
    """The rows of one run."""
    step = np.arange(1, steps + 1)
    falls = rng.uniform(0.1, 0.8) * steps
    clean = np.log(10) * np.exp(-np.maximum(step - falls, 0) / (0.05 * steps)) + 0.01
    evaluated = step % max(1, steps // 100) == 0
    noisy = clean * np.exp(0.05 * rng.standard_normal(steps))
    return pl.DataFrame(
        {
            "run": [run] * steps,
            "step": step,
            "train_loss": noisy,
            "eval_loss": np.where(evaluated, clean, np.nan),
            "eval_accuracy": np.where(evaluated, np.exp(-clean), np.nan),
            "lr": np.where(evaluated, 1e-3, np.nan),
        }
    ).with_columns(pl.col("eval_loss", "eval_accuracy", "lr").fill_nan(None))


def milliseconds_until_usable(page: Path) -> float | None:
    """The time in the browser; None without one."""
    if BROWSER is None:
        return None
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition('<meta http-equiv="Content-Security-Policy"')
    text = (head + rest.partition(">")[2]).replace("</body>", _TELL + "</body>")
    told: list[float] = []
    arrived = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/ready"):
                asked = parse_qs(urlparse(self.path).query)
                assert asked["curves"] == ["1"], "the page has no chart"
                told.append(float(asked["ms"][0]))
                arrived.set()
            body = text.encode() if self.path == "/" else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in range(3):
        arrived.clear()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = subprocess.Popen(
                [BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
                 "--remote-debugging-port=0", "--window-size=1400,1000",
                 f"--user-data-dir={profile}",
                 f"http://127.0.0.1:{server.server_port}/"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                assert arrived.wait(120), "the page was not usable within two minutes"
            finally:
                browser.terminate()
                browser.wait()
    server.shutdown()
    return statistics.median(told)


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument(
        "--keep", type=Path, help="folder of the store; kept, and used if it exists"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = (asked.keep or Path(folder)) / "lab"
        if path.exists():
            store = Store(path)
            (record,) = store.experiments()
        else:
            store, record = made_store(path, asked.variants, asked.seeds, asked.steps)
        began = time.perf_counter()
        write_entry(store, record)
        first = time.perf_counter() - began
        began, worked = time.perf_counter(), time.process_time()
        page = write_entry(store, record).page  # the readings of the curves are kept by now
        again, busy = time.perf_counter() - began, time.process_time() - worked
        size = page.stat().st_size / 1e6
        usable = milliseconds_until_usable(page)
    print(
        json.dumps(
            {
                "variants": asked.variants,
                "seeds": asked.seeds,
                "steps": asked.steps,
                "page_mb": round(size, 2),
                "first_write_s": round(first, 1),
                "rewrite_s": round(again, 1),
                "rewrite_cpu_s": round(busy, 1),
                "usable_ms": usable and round(usable),
            }
        )
    )


if __name__ == "__main__":
    main()
