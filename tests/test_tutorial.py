"""The tutorial, executed as a Jupyter notebook and as a marimo notebook."""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import polars as pl
import torch

from tests.notebook.kernels import kernel, text_of

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTEBOOK, TWIN = DOCS / "tutorial.ipynb", DOCS / "tutorial_marimo.py"


def sources():
    """The cells of the notebook: what they are, and their text."""
    cells = nbformat.read(NOTEBOOK, 4).cells
    return [(cell.cell_type, cell.source) for cell in cells]


def twin_cells():
    """The cells of the marimo notebook, in the same form."""
    tree = ast.parse(TWIN.read_text(encoding="utf-8"))
    bodies = [node.body for node in tree.body if isinstance(node, ast.FunctionDef)]
    found = []
    for body in bodies[1:]:  # the first one imports marimo
        own = [node for node in body if not isinstance(node, ast.Return)]
        call = own[0].value if isinstance(own[0], ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "mo.md":
            lines = ast.literal_eval(call.args[0]).strip().splitlines()
            found.append(("markdown", "\n".join(line.strip() for line in lines)))
        else:
            found.append(("code", "\n".join(map(ast.unparse, own))))
    return found


def test_the_notebook_is_kept_without_outputs():
    cells = nbformat.read(NOTEBOOK, 4).cells
    assert not any(cell.get("outputs") for cell in cells)
    assert not any(cell.get("execution_count") for cell in cells)


def test_both_notebooks_have_the_same_cells():
    expected = [
        (kind, ast.unparse(ast.parse(text)) if kind == "code" else text) for kind, text in sources()
    ]
    assert twin_cells() == expected


def test_the_tutorial(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, 4)
    with kernel(tmp_path, notebook, monkeypatch) as client:
        for place, cell in enumerate(notebook.cells):
            client.execute_cell(cell, place)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = {cell.source.splitlines()[-1]: text_of(cell) for cell in code}
    assert "8 of 8 runs to train" in shown['ablab.plan(exp, store="lab", workers=1)']
    assert "8 readings of train_loss" in shown['store.readings("rates")']
    assert "1 expectation: 1 held" in shown['store.verdicts("rates")']
    assert "mean_entropy" in shown['run.plot("train_loss", "activation/*")']
    for cell in code:
        (*_, last) = cell.outputs
        assert "text/html" in last.data, cell.source
        assert len(text_of(cell).splitlines()) <= 24, cell.source

    # What the text says of the run: the last token looks at the units of both numbers.
    import ablab

    store = ablab.open(tmp_path / "lab")
    best = min(store.runs("rates"), key=lambda run: run.eval_loss)
    assert best.variant == {"train.lr": 3e-3}
    run = store.run(best.run)
    tokens = torch.tensor([list(run.task().tokens("12+34="))])
    _, seen = ablab.watch(run.model(), tokens, ["blocks.0.attn.pattern"])
    (pattern,) = seen["blocks.0.attn.pattern"]
    assert sorted(pattern[:, -1].argmax(dim=-1).tolist()) == [1, 4]  # from "=" to "2" and "4"
    entropies = run.metrics(["activation/*"]).drop_nulls()
    assert entropies["step"].to_list() == list(range(1, 151, 5))
    # Rows of 1 to 6 tokens that see each other alike have a mean entropy of log(720) / 6 nats.
    most = entropies.select(pl.exclude("run", "step", "train_loss")).max_horizontal().max()
    assert 0.5 < most <= math.log(720) / 6 + 1e-6

    # The twin finds all runs trained.
    environment = os.environ | {"PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, TWIN], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to train: all 8 runs are in lab" in done.stderr
