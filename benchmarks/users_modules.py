"""Modules that are easy to train wrongly, by every method, next to an eager loop of each run alone.

    python benchmarks/users_modules.py [--steps 30]

For each module: what ``ablab plan``, ``ablab run`` (for every engine, compiled and not) and
``ablab doctor`` say, and how far the losses of two seeds are from those of the eager loop.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ablab import open as open_store
from ablab.execute.verify import ApartError, verify
from ablab.experiments import experiment
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack

ROOT = Path(__file__).resolve().parent.parent
MODULES = ["CentredInTraining", "OwnBatchNorm", "InPlaceCache", "OwnDropout", "Recurrent", "Plain"]
METHODS = {
    "stack": STACK,
    "compiled": Method("stack", True, attention="plain", rows=1),
    "in parts": Method("stack", True, attention="plain", rows=1, samples=8),
    "innermost": Method("stack", True, "innermost", "plain", 1),
    "innermost, in parts": Method("stack", True, "innermost", "plain", 1, samples=8),
}
CHOICES = [
    ["--engine", engine, "--compile", how] for engine in ("solo", "stack") for how in ("off", "on")
]


def tree(name: str, steps: int) -> dict:
    return {
        "name": name.lower(),
        "question": f"Does {name} train alike by every method?",
        "task": {"kind": "addition", "n_digits": 3, "target": "all"},
        "model": {"kind": f"tests.train.my_mixers:{name}"},
        "train": {"steps": steps, "batch_size": 32, "lr": 0.01, "evaluate": {"every": steps}},
        "seeds": 2,
    }


def loop(run, steps: int) -> np.ndarray:
    """The losses of a plain eager loop over one run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Stack([run], None, torch.device("cpu"), SOLO).advance(steps).losses[:, 0]


def apart(losses: np.ndarray, exact: np.ndarray) -> str:
    return f"{np.nanmax(np.abs(losses - exact) / np.abs(exact)):.1e}"


def unverified(runs, method: Method, exact: np.ndarray) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            found = Stack(runs, None, torch.device("cpu"), method).advance(len(exact)).losses
        except Exception as error:
            return f"raises {type(error).__name__}: {error}".splitlines()[0][:70]
    return apart(found, exact)


def verified(runs, method: Method) -> str:
    stack, told = Stack(runs, None, torch.device("cpu"), method), []
    try:
        found = verify(stack, None, told.append)
    except ApartError as reason:
        return f"one run at a time, eagerly: {reason}"
    title = "trains" if stack.method == method else f"trains by {stack.method.title}"
    return f"{title}: {found.fallback or found.comparison}"


def command(*arguments: str) -> tuple[str, str]:
    """The output and the messages of a command."""
    found = subprocess.run(
        [sys.executable, "-m", "ablab", *arguments],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    return found.stdout.strip(), found.stderr.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("modules", nargs="*", default=MODULES)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    torch.set_num_threads(1)
    for name in options.modules:
        print(f"\n=== {name}", flush=True)
        asked = experiment(tree(name, options.steps))
        runs = [replace(run) for run in asked.runs]
        with tempfile.TemporaryDirectory() as folder:
            show(name, asked, runs, options.steps, Path(folder))


def show(name: str, asked, runs, steps: int, folder: Path) -> None:
    file = folder / "module.yaml"
    file.write_text(json.dumps(tree(name, steps)))
    store = ["--store", str(folder / "lab")]
    out, _ = command("plan", str(file), *store, "--json")
    for stack in json.loads(out)["stacks"]:
        print(f"plan: {stack['method']}; {stack['why']}")
    try:
        exact = np.stack([loop(run, steps) for run in runs], axis=1)
    except ValueError as error:
        print(f"eager loop: {error}")
        exact = None
    if exact is not None:
        print(f"eager loop: {exact[0].round(4)} at step 1, {exact[-1].round(4)} at step {steps}")
        for title, method in METHODS.items():
            print(f"  {title}, not verified: losses off by {unverified(runs, method, exact)}")
            print(f"  {title}, verified: {verified(runs, method)}", flush=True)
    for number, choices in enumerate(CHOICES):
        lab = str(folder / f"lab{number}")
        _, err = command("run", str(file), "--store", lab, *choices, "--workers", "1", "--quiet")
        opened = open_store(lab)
        found = [opened.run(run.id) for run in runs]
        print(f"run {' '.join(choices)}: {', '.join(each.status for each in found)}")
        for line in err.splitlines():
            print(f"    {line}")
        if exact is None:
            continue
        losses = np.stack(
            [each.metrics().sort("step")["train_loss"].drop_nulls().to_numpy() for each in found], 1
        )
        methods = {each.segments[-1]["method"] for each in found}
        print(f"    by {', '.join(methods)}: losses off by {apart(losses, exact)}", flush=True)
    out, err = command("doctor", str(file))
    print("doctor:", *(out or err).splitlines(), sep="\n    ", flush=True)


if __name__ == "__main__":
    main()
