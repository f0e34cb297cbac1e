"""The analysis of a user's own in docs/analysis.md, exactly as it is written there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import ablab
from ablab.model.interventions import watch
from ablab.store.store import Store
from tests.cli.command import run_command
from tests.store.makers import train

REPOSITORY = Path(__file__).resolve().parents[2]
ASKED = {
    "name": "seen",
    "task": {"kind": "modular", "p": 5},
    "model": {"d_model": 8, "n_heads": 2, "n_layers": 2},
    "train": {"steps": 4, "batch_size": 8, "snapshots": {"every": 2}},
    "seeds": 1,
}


@pytest.fixture(scope="module")
def text():
    page = (REPOSITORY / "docs" / "analysis.md").read_text()
    (found,) = re.findall(r"```python\n(# mymod\.py\n.*?)```", page, re.DOTALL)
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "lab"
    train(ASKED, path, compile="off")
    return path


def expected_changes(lab, step):
    """The rise of the loss without each head, by the model's own parameters after the head."""
    run = ablab.open(lab).run(Store(lab).runs()[0].run)
    model = run.model(step)
    a, b = np.divmod(np.arange(25), 5)
    tokens = torch.from_numpy(np.stack([a, b, np.full(25, 5)], axis=-1))
    targets = torch.from_numpy((a + b) % 5)
    found = {}
    with torch.no_grad():
        logits, _ = watch(model, tokens, [])
        clean = cross_entropy(logits[:, -1], targets)
        for block in range(2):
            projection = model.blocks[block].attention.projection
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)

                def averaged(_, inputs, part=part):
                    z = inputs[0].clone()
                    z[..., part] = z[..., part].mean(0)
                    return (z,)

                hook = projection.register_forward_pre_hook(averaged)
                changed, _ = watch(model, tokens, [])
                hook.remove()
                found[f"{block}.{head}"] = float(cross_entropy(changed[:, -1], targets) - clean)
    return found | {"largest": max(found.values())}


def test_it_is_short(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 25


def test_by_import_path(text, lab, tmp_path, monkeypatch):
    (tmp_path / "mymod.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = run_command("analyze", "seen", "mymod:heads", "--store", str(lab), "--json")
    assert code == 0, err
    rows = json.loads(out)["analyses"][0]["scalars"]
    for step in (0, 2, 4):
        own = {row["name"].rpartition("/")[2]: row["value"] for row in rows if row["step"] == step}
        assert own == pytest.approx(expected_changes(lab, step), abs=1e-5)


def test_as_one_file_of_ablab(text, lab, tmp_path):
    shutil.copytree(REPOSITORY / "src", tmp_path, dirs_exist_ok=True)
    (tmp_path / "ablab" / "analysis" / "analyses" / "heads.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "ablab", "analyze", "seen", "heads", "--store", str(lab), "--json"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    (found,) = json.loads(done.stdout)["analyses"]
    assert found["question"] == "Which head matters most?"
    own = {r["name"].rpartition("/")[2]: r["value"] for r in found["scalars"] if r["step"] == 4}
    assert own == pytest.approx(expected_changes(lab, 4), abs=1e-5)
