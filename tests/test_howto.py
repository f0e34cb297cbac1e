"""The code of the how-to pages, run as written."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from tests.cli.command import run_command

PAGES = Path(__file__).resolve().parent.parent / "docs" / "howto"
_LINES = 40  # of code on a page, at the most


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of each block of code."""
    return re.findall(r"```(\w+)\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_a_page_has_few_lines_of_code(page):
    assert sum(len(text.splitlines()) for _, text in blocks(page)) <= _LINES


def test_sweeps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLAB_STORE", "lab")
    said = []
    for language, text in blocks("sweeps.md"):
        if language == "yaml":
            (tmp_path / "rates.yaml").write_text(text)
        for line in text.splitlines() if language == "sh" else ():
            _, *arguments = shlex.split(line)
            code, out, err = run_command(*arguments)
            assert code == 0, f"{arguments}: {err}"
            said.append(out)
    assert "train.lr (8: 0.0001 to 0.1) × [model.d_model (2) + model.d_mlp (2)" in said[0]
    assert "train.lr, over 8 values" in said[2] or "at train.lr=" in said[2]
    ((_, code),) = [each for each in blocks("sweeps.md") if each[0] == "python"]
    (tmp_path / "search.py").write_text(code)
    runpy.run_path("search.py", run_name="__main__")
    found = capsys.readouterr().out
    assert "train.lr " in found
    assert "train.weight_decay " in found
