"""Flips single bits in all files of a store: what does a check find, what do the commands say?

Makes a small store (three experiments, several metrics parts, one of them merged, snapshots,
captures, flight records, a tokenizer, samples, cached readings, expectations, notes). For each
flip, a copy of it is checked and read by every reading command, the pages of the server, the Python
API and a resume, all in this process, and their answers are compared with those of the sound store.
Figures are compared by the data that they show: drawing them would take most of the time.

python benchmarks/bit_flips.py --flips 500
"""

import argparse
import contextlib
import copy
import gc
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from starlette.testclient import TestClient

import ablab
from ablab.cli.main import main as command_line
from ablab.config import InputError
from ablab.execute.options import Options
from ablab.execute.orchestrate import orchestrate
from ablab.execute.progress import QuietReporter
from ablab.read.readings import experiment_readings
from ablab.serve.app import make_app
from ablab.store import Store, compaction
from ablab.store.metrics import append_rows, experiment_runs

GRID = {
    "name": "grid",
    "question": "Does width matter?",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 20, "batch_size": 8, "evaluate": {"every": 10, "samples": 16},
              "snapshots": {"every": 10}},
    "watch": {"every": 5, "captures": {"what": "logits", "samples": 2, "steps": [0, 20]}},
    "grid": {"model.d_model": [4, 8]},
    "seeds": 2,
    "expect": [{"measure": "final(train_loss)", "falls_with": "model.d_model"}],
}  # fmt: skip
WILD = {
    "name": "wild",
    "task": {"kind": "addition", "n_digits": 2, "target": "all"},
    "model": {"kind": "bigram"},
    "train": {"steps": 40, "batch_size": 16, "loss": "mse", "optimizer": "sgd", "lr": 1000.0,
              "momentum": 0.5, "schedule": {"warmup": 60},
              "recover": {"every": 7, "above": 0.5, "at_most": 9, "lr_factor": 0.25}},
    "seeds": 2,
}  # fmt: skip
TEXT = {
    "name": "words",
    "task": {"kind": "text", "tokenizer": "bpe", "bpe_size": 260, "seq_len": 8},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 6, "batch_size": 4, "evaluate": {"every": 6, "samples": 8}},
}
PEOPLE = {".md", ".html", ".svg"}  # written for people, who may edit them


def train(asked: dict[str, Any], lab: Path) -> Store:
    """Trains an experiment, each run alone, so that it is trained again bit for bit."""
    store = Store(lab, create=True)
    options = Options(workers=1, engine="solo", compiling="off")
    experiment = ablab.experiment(copy.deepcopy(asked))
    orchestrate(experiment, store, options, "ablab run", QuietReporter(), lambda: False)
    return store


def make(lab: Path, folder: Path) -> None:
    """The sound store."""
    corpus = folder / "corpus.txt"
    corpus.write_text("the cat sat on the mat and the dog sat on the log\n" * 40)
    TEXT["task"]["corpus"] = str(corpus)  # type: ignore[index]
    for asked in (GRID, WILD, TEXT):
        store = train(asked, lab)
        with mock.patch.object(compaction, "_SMALL_PARTS", 1):
            compaction.compact(store)
        store.close()
    store = Store(lab)
    for run in store.runs():
        steps = list(range(1, 6))
        append_rows(store, pl.DataFrame({"run": [run.run] * 5, "step": steps, "grad/x/rms": 0.5}))
    for record in store.experiments():
        experiment_readings(store, record, experiment_runs(store, record))
        store.note(record.id, "a note")
    store.close()
    for name in ("grid", "wild", "words"):
        command("logbook", name, "--store", str(lab))()


def command(*arguments: str, file: Path | None = None) -> Callable[[], str]:
    """A command of the shell; its answer is what it prints, or the file that it writes."""

    def call() -> str:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", ["ablab", *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                command_line()
            except SystemExit as end:
                if end.code:
                    raise InputError(err.getvalue() or out.getvalue()) from end
        return file.read_text() if file is not None else out.getvalue()

    return call


def questions(lab: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """What is asked of every copy of the store, by name."""
    store = ("--store", str(lab))
    opened = ablab.open(lab)
    runs = {name: [run.run for run in opened.runs(name)] for name in ("grid", "wild", "words")}
    incidents = [(run, each.step) for run in runs["wild"] for each in opened.run(run).incidents]
    snapshots = {run: opened.run(run).snapshots for run in runs["grid"]}
    opened.store.close()
    one = runs["grid"][0]
    asked: dict[str, Callable[[], Any]] = {"runs": command("runs", "--json", *store)}
    for name in runs:
        asked |= {
            f"show {name}": command("show", runs[name][0], "--json", *store),
            f"read {name}": command("read", name, "--json", *store),
            f"metrics {name}": command("metrics", name, "--json", *store),
        }
    csv, svg = folder / "out.csv", folder / "out.svg"
    asked |= {
        "effects": command("effects", "grid", "--json", *store),
        "expect": command("expect", "grid", "--json", *store),
        "export": command("export", "grid", "--to", "csv", "--out", str(csv), *store, file=csv),
        "figure": command("figure", one, "train_loss", "--out", str(svg), *store, file=svg),
    }
    for run, steps in snapshots.items():
        asked[f"model {run}"] = lambda run=run, steps=steps: [
            outputs(ablab.open(lab).run(run).model(step)) for step in steps
        ]
        asked[f"captured {run}"] = lambda run=run: plain(ablab.open(lab).run(run).captured(20))
    for run, step in incidents:
        asked[f"incident {run} {step}"] = lambda run=run, step=step: (
            ablab.open(lab).run(run).incident(step).rows()
        )
    pages = [f"/experiments/{number}" for number in (1, 2, 3)]
    pages += [f"/runs/{each[0]}" for each in runs.values()]
    for path in ("/", *pages, *(f"{each}/data" for each in pages)):
        asked[f"GET {path}"] = lambda path=path: page(lab, path)
    asked["logbook"] = lambda: entry(lab)
    asked["resume"] = lambda: resumed(lab)
    return asked


def show_data(figure: Figure, file: Any, **_: Any) -> None:
    """Writes what a figure shows as text, in place of a drawing."""
    shown = []
    for axes in figure.axes:
        shown += [line.get_xydata().tolist() for line in axes.lines]
        shown += [np.asarray(image.get_array()).tolist() for image in axes.images]
        shown += [path.vertices.tolist() for each in axes.collections for path in each.get_paths()]
        shown += [each.get_window_extent().bounds for each in axes.patches]
    texts = [text.get_text() for text in figure.findobj(Text)]
    content = f"<svg><text>{hash_of([shown, texts])}</text></svg>"
    file.write(content.encode() if isinstance(file, io.BytesIO) else content)


def hash_of(data: Any) -> str:
    """A digest of plain data."""
    return hashlib.sha256(repr(data).encode()).hexdigest()


def outputs(model: torch.nn.Module) -> list[float]:
    """The logits of a model, with all their bits."""
    with torch.no_grad():
        found: list[float] = model(torch.arange(6).remainder(10)[None, :3]).flatten().tolist()
    return found


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    """Tensors as numbers."""
    return {name: tensor.flatten().tolist() for name, tensor in tensors.items()}


def page(lab: Path, path: str) -> str:
    """A page of the server."""
    client = TestClient(make_app(lab, loopback=True, token=None), base_url="http://127.0.0.1")
    response = client.get(path)
    if response.status_code in (404, 503):
        raise InputError(response.text)
    assert response.status_code == 200, f"status {response.status_code}"
    return response.text


def entry(lab: Path) -> list[str]:
    """The entry, written again."""
    command("logbook", "grid", "--store", str(lab))()
    (folder,) = (lab / "logbook").glob("*-grid")
    return [(folder / name).read_text() for name in ("entry.md", "index.html", "findings.json")]


def resumed(lab: Path) -> list[Any]:
    """The losses of a longer experiment, which goes on from the last snapshots."""
    store = train(GRID | {"train": GRID["train"] | {"steps": 30}}, lab)  # type: ignore[operator]
    frame = ablab.open(lab).metrics("grid", ["train_loss", "eval_loss"])
    store.close()
    return [tuple(map(repr, row)) for row in frame.rows()]


def answers(asked: dict[str, Callable[[], Any]]) -> Iterator[tuple[str, str, Any]]:
    """Each question's name, how it ended (``answer``, ``refused``, ``crash``), and its answer."""
    for name, ask in asked.items():
        try:
            yield name, "answer", ask()
        except InputError as error:
            yield name, "refused", str(error)
        except BaseException as error:  # a panic is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            yield name, "crash", traceback.format_exc()


def main() -> None:
    """Flips bits and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="flip only in files whose path contains this")
    parser.add_argument("--minutes", type=float, default=600, help="stop after this long")
    options = parser.parse_args()
    torch.set_num_threads(1)
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=place) as name,
        mock.patch.object(Figure, "savefig", show_data),
    ):
        result = flip_bits(Path(name), options)
    print(json.dumps(result, indent=1))


def flip_bits(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Flips bits in copies of a store; returns what happened."""
    sound, lab = folder / "sound", folder / "lab"
    make(lab, folder)
    gc.collect()  # closes connections, so that the index is one file
    lab.rename(sound)
    files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file())
    files = [path for path in files if options.only in str(path)]

    def renew() -> None:
        shutil.rmtree(lab, ignore_errors=True)
        shutil.copytree(sound, lab)

    renew()
    asked = questions(lab, folder)
    expected: dict[str, Any] = {}
    for _ in range(2):  # what differs between two sound copies cannot be compared
        renew()
        for name, how, answer in answers(asked):
            assert how == "answer", f"{name}: {answer}"
            if expected.setdefault(name, answer) != answer:
                asked = {each: ask for each, ask in asked.items() if each != name}
    check = {"check": command("check", "--store", str(lab))}
    generator = random.Random(options.seed)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, list[str]] = defaultdict(list)
    began, end = time.process_time(), time.monotonic() + 60 * options.minutes
    for number in range(options.flips):
        if time.monotonic() > end:
            break
        renew()
        victim = generator.choice(files)
        kind = kind_of(victim)
        bit = flip(lab / victim, generator)
        ((_, how, said),) = answers(check)
        outcomes = ["found" if how == "refused" else how]
        for name, how, answer in answers(asked):
            if how == "crash":
                outcomes.append("crash")
                examples["crash"].append(f"{victim} bit {bit}: {name}: {answer[-1500:]}")
            elif how == "answer" and answer != expected[name] and "damaged" in str(answer):
                outcomes.append("told")
            elif how == "answer" and answer != expected[name]:
                outcomes.append("wrong")
                examples["wrong"].append(f"{victim} bit {bit}: {name}")
            elif how == "refused":
                outcomes.append("refused")
        if outcomes[0] == "answer":
            examples["not found"].append(f"{victim} bit {bit}: {said[-200:]}")
        if outcomes[0] == "crash":
            examples["crash"].append(f"{victim} bit {bit}: check: {said[-1500:]}")
        found[kind].update({"flips": 1, **dict.fromkeys(outcomes, 1)})
        if number % 50 == 49:
            print(f"{number + 1} flips, {time.process_time() - began:.0f} s", file=sys.stderr)
    return {
        "flips": sum(counts["flips"] for counts in found.values()),
        "questions": len(asked),
        "files": len(files),
        "seconds": round(time.process_time() - began),
        "by file": {kind: dict(counts) for kind, counts in sorted(found.items())},
        "examples": {what: texts[:20] for what, texts in examples.items()},
    }


def kind_of(path: Path) -> str:
    """The kind of a file, as the table of results names it."""
    if path.parts[0] == "logbook" and path.suffix in PEOPLE:
        return "for people"
    return path.parts[0]


def flip(path: Path, generator: random.Random) -> int:
    """Flips one bit of a file, whose time stays what it was, as on a failing disk."""
    content = np.fromfile(path, np.uint8)
    bit = generator.randrange(8 * content.size)
    content[bit // 8] ^= 1 << (bit % 8)
    about = path.stat()
    content.tofile(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    return bit


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
