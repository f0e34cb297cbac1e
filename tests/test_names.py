"""The renames of docs/decisions/0015-names.md: old names are gone, new ones are there."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "decisions" / "0015-names.md").read_text()
ROWS = re.findall(r"^\| `(ablab[\w.:]+)` \| `(ablab[\w.:]+)` \|$", PAGE, re.MULTILINE)
# Identifiers that had several meanings, or one of our own; none of them is defined any more.
GONE = {
    "keeper", "kept", "slots", "supply", "needs", "draws", "follower", "followers", "sheet",
    "flight", "flights", "conduct", "carry_out", "settle", "rehearse", "take_over", "watcher",
}  # fmt: skip
ALIASES = {("store/stored_run.py", "flight"), ("store/stored_run.py", "flights")}


def exists(name: str) -> bool:
    module, _, thing = name.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    if thing:
        return thing in vars(found)
    return True


@pytest.mark.parametrize(("old", "new"), ROWS)
def test_a_name_is_gone_and_its_successor_there(old, new):
    assert exists(new)
    # Some modules keep their name and lose a class, others are packages of the same name now.
    assert not exists(old)


def test_the_tables_are_read():
    assert len(ROWS) > 70


def test_words_with_several_meanings_name_nothing():
    found = []
    for path in sorted((ROOT / "src" / "ablab").rglob("*.py")):
        file = str(path.relative_to(ROOT / "src" / "ablab"))
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                    names = [name]
                case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    names = [name]
                case _:
                    continue
            found += [(file, name) for name in names if name.lower().strip("_") in GONE]
    assert set(found) <= ALIASES
