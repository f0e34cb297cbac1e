"""The examples of the Python reference, run in the order of its pages, in one folder."""

import re
from pathlib import Path

import pytest

import ablab

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ["experiments", "stores", "reading", "inside", "checks"]


def examples(page: str) -> str:
    text = (DOCS / "python" / f"{page}.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = {}
    for page in PAGES:
        exec(compile(examples(page), f"{page}.md", "exec"), {"__name__": "__main__"})
        said[page] = capsys.readouterr().out
    assert "model.d_model=8" in said["experiments"]
    assert "entry: lab" in said["experiments"]
    assert "not reached by step 60" in said["stores"]
    assert "grad/" in said["stores"]
    assert "model.d_model" in said["reading"]
    assert "torch.Size([1, 1, 8, 8])" in said["inside"]
    assert "did you mean model.d_model?" in said["checks"]


@pytest.mark.parametrize("name", sorted(set(ablab.__all__) - {"recipes"}))
def test_each_public_function_has_an_example(name):
    assert any(f"ablab.{name}(" in examples(page) for page in PAGES)


def test_the_overview_lists_the_pages():
    listed = re.findall(r"^python/(\w+)$", (DOCS / "python.md").read_text(), re.MULTILINE)
    assert listed == PAGES
