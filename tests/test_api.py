"""What a run from Python leaves in its entry."""

from pathlib import Path

import pytest

import ablab

EXPERIMENT = """
name: tiny
task: {kind: addition, n_digits: 1}
model: {d_model: 8, n_heads: 1}
train: {steps: 2, batch_size: 4}
"""


@pytest.mark.parametrize(
    ("folder", "shown"),
    [(".", "tiny.yaml"), ("mine", "mine/tiny.yaml"), ("../elsewhere", "tiny.yaml")],
    ids=["here", "below", "elsewhere"],
)
def test_an_entry_names_a_file_without_the_folders_that_lead_to_it(
    folder, shown, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    file = (here / folder / "tiny.yaml").resolve()
    file.parent.mkdir(exist_ok=True)
    file.write_text(EXPERIMENT)
    for given in (file, str(file)):
        result = ablab.run(given, store="lab", workers=1, compile="off", quiet=True)
        page = result.entry.read_text() + result.entry.with_name("entry.md").read_text()
        assert f"ablab.run('{shown}')" in result.entry.with_name("entry.md").read_text()
        assert str(tmp_path) not in page


def test_a_relative_path_is_shown_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(EXPERIMENT)
    result = ablab.run(Path("tiny.yaml"), store="lab", workers=1, compile="off", quiet=True)
    assert "ablab.run('tiny.yaml')" in result.entry.with_name("entry.md").read_text()
