"""The walk in docs/architecture.md is the one that a training step takes."""

import ast
import re
import traceback
from pathlib import Path

from torch.nn import functional as F

import ablab as package
from ablab.cli.main import ablab

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
SOURCE = Path(package.__file__).parent
_MOST_LINES = 400  # of a file
MOST = 12  # functions from the command to the kernel


def documented() -> list[tuple[str, str]]:
    rows = re.findall(r"^\| \d+ \| `([\w.]+)` \| `([\w/]+\.py)` \|", PAGE.read_text(), re.MULTILINE)
    return [(file, name.rpartition(".")[2]) for name, file in rows][:MOST]


def test_a_step_goes_from_the_command_to_the_kernel_as_documented(tmp_path, monkeypatch):
    chains = []
    real = F.scaled_dot_product_attention

    def spy(*args, **kwargs):
        frames = [f for f in traceback.extract_stack() if "/src/ablab/" in f.filename]
        chain = [(f.filename.split("/src/ablab/")[1], f.name) for f in frames]
        if ("execute/executors/in_process.py", "train") in chain:  # not while planning
            chains.append(chain)
        return real(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    command = ["run", "addition", "train.steps=2", "seeds=2", "model.d_model=8", "model.n_heads=1"]
    command += ["watch.statistics=[]"]  # without figures of statistics
    options = ["--engine", "stack", "--compile", "off", "--workers", "1", "--quiet"]
    ablab.main([*command, *options, "--store", str(tmp_path / "lab")], standalone_mode=False)
    steps = [chain for chain in chains if ("train/stack.py", "advance") in chain]
    assert len(steps) == 2, "a call for each step, all runs and heads in it"
    walk = [("cli/main.py", "main"), *steps[-1]]  # click was called without main here
    assert walk == documented()
    assert len(walk) == MOST


def test_every_room_has_a_map_of_its_modules():
    source = PAGE.parent.parent / "src" / "ablab"
    rooms = [path.parent for path in source.glob("*/__init__.py") if path.parent.name != "recipes"]
    assert len(rooms) == 15
    lacking = [
        f"{room.name}/{module.name}"
        for room in rooms
        for module in sorted(room.glob("*.py"))
        if module.stem != "__init__"
        and f"``{module.stem}``" not in (room / "__init__.py").read_text()
    ]
    assert not lacking


def test_no_file_is_too_long():
    lines = {path: path.read_text("utf-8").count("\n") for path in SOURCE.rglob("*.py")}
    assert [str(path) for path, count in lines.items() if count > _MOST_LINES] == []


def test_only_the_store_speaks_sql():
    statement = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN) ")
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.is_relative_to(SOURCE / "store"):
            continue
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.name}: {name}"
            for name in ("sqlite3", "index.rows(", "index.transaction(")
            if name in text
        ]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and statement.match(str(node.value)):
                found.append(f"{path.name}:{node.lineno}: {node.value!r:.60}")
    assert found == []
