"""A stranger's store, whose experiments name modules, corpora and markup, for the tests of reading.

The runs are made up, by ``tests.read.filled``; then what a stranger wants is put into the index.
"""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np

from ablab.store import Store
from tests.read.filled import fill

TRAP = """
import pathlib
pathlib.Path({marker!r}).open("a").write(__name__ + "\\n")
raise RuntimeError("a module of a stranger was imported")
"""
MARKUP = "<script>alert(1)</script>\x1b[31m\x9b31m\nred"
TASK = {"kind": "addition", "n_digits": 1}
ADDED = ("registrations", "samples")  # tables that an older release lacks

# What takes the place of parts in the definition and the trajectories.
STRANGE = {
    "module": {
        "task": {"kind": "mine:Task"},
        "model": {"kind": "mine:Model", "n_heads": 2},
        "train": {"optimizer": "evilmod:Optimizer", "steps": 60},
    },
    "norms": {"model": {"norm": "evilmod:norm", "n_heads": 2}},
    "download": {"task": {"kind": "text", "corpus": "tinyshakespeare", "seq_len": 8}},
    "outside": {"task": {"kind": "text", "corpus": "OUTSIDE", "tokenizer": "bpe",
                         "bpe_size": 300, "seq_len": 4}},
    "marked": {"task": {"kind": "text", "corpus": "http://127.0.0.1:9/corpus.txt"}},
}  # fmt: skip


def strangers_store(folder: Path) -> None:
    """Makes ``lab``, its older form ``old``, and the traps beside and inside of them.

    ``folder/work`` is the working directory, with a module ``mine``; ``folder/modules`` is meant
    for the search path and has ``evilmod``. A module that is imported leaves its name in
    ``folder/imported``.
    """
    work, lab = folder / "work", folder / "lab"
    outside = folder / "corpus.txt"
    outside.write_text("to be or not to be, that is the question\n" * 40)
    for name in STRANGE:
        fill(lab, _asked(name), _curve)[0].close()
    _put_in(lab, str(outside))
    shutil.copytree(lab, folder / "old")
    with sqlite3.connect(folder / "old" / "index.sqlite") as connection:
        for table in ADDED:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute("DELETE FROM row_digests WHERE of_table = ?", (table,))
    connection.close()
    trap = TRAP.format(marker=str(folder / "imported"))
    for place in (work, lab, folder / "old", folder / "modules"):
        place.mkdir(exist_ok=True)
        for name in ("mine", "evilmod"):
            if place != work or name == "mine":
                (place / f"{name}.py").write_text(trap)
    text = json.dumps(_asked("module") | STRANGE["module"] | {"expect": _expectations()})
    (work / "stranger.yaml").write_text(text)


def _asked(name):
    return {
        "name": name,
        "question": "What does reading do?",
        "task": TASK,
        "model": {"n_heads": 2},
        "train": {"steps": 60, "lr": 0.001 * (1 + list(STRANGE).index(name))},
        "grid": {"model.d_model": [8, 32]},  # 32 is the default
        "seeds": 2,
        "expect": _expectations(),
    }


def _expectations():
    return [{"claim": "it falls", "measure": "final(train_loss)", "below": 5.0}]


def _curve(keys, seed, steps):
    noise = np.random.default_rng(seed + keys["model.d_model"]).standard_normal(len(steps))
    return 2.3 * np.exp(-0.02 * steps) + 0.01 * noise


def _put_in(lab: Path, outside: str) -> None:
    """Replaces definitions, trajectories and names by a stranger's, with digests that fit."""
    store = Store(lab)
    with store.index.transaction() as connection:
        for place, name in enumerate(STRANGE):
            change = json.loads(json.dumps(STRANGE[name]).replace("OUTSIDE", outside))
            (number, text) = connection.execute(
                "SELECT id, definition FROM experiments WHERE name = ?", (name,)
            ).fetchone()
            definition = json.loads(text) | change
            connection.execute(
                "UPDATE experiments SET definition = ? WHERE id = ?",
                (json.dumps(definition), number),
            )
            if name == "marked":
                connection.execute(
                    """UPDATE members SET variant = json_set(variant, '$.how', ?)
                       WHERE experiment = ?""",
                    (MARKUP, number),
                )
            rows = connection.execute(
                """SELECT r.id, r.trajectory FROM runs r JOIN members m ON m.run = r.id
                   WHERE m.experiment = ?""",
                (number,),
            ).fetchall()
            for run, trajectory in rows:
                changed = json.loads(trajectory)
                for part, settings in change.items():
                    changed[part] = changed[part] | settings
                connection.execute(
                    "UPDATE runs SET trajectory = ? WHERE id = ?", (json.dumps(changed), run)
                )
            connection.execute(
                "INSERT INTO notes (experiment, text, created) VALUES (?, ?, ?)",
                (number, f"a note {MARKUP}", f"2026-01-0{1 + place}T00:00:00.000"),
            )
        connection.execute(
            "UPDATE experiments SET name = ?, question = ? WHERE name = 'marked'", (MARKUP, MARKUP)
        )
    store.close()
