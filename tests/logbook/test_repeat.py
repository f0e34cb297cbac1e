"""What repeats an experiment: the same runs, and what was written down later."""

import html
from pathlib import Path

import numpy as np

import ablab
from ablab.experiments.expectations import parse_expectation
from ablab.logbook.repeat import _shortened, repeat, whole_definition
from ablab.store.expected import stamp, stamped
from tests.read.filled import fill, grid
from tests.train import my_optimizers


def flat(keys, seed, steps):
    return np.ones(len(steps))


def test_expectations_that_came_later_say_so(tmp_path):
    asked = grid(steps=20, seeds=2, expect=["final(loss) is below 5"])
    store, record = fill(tmp_path / "lab", asked, flat)
    stamp(store, record, [parse_expectation("final(loss) falls with model.d_model")])
    found = whole_definition(store, record)
    assert [each.get("after_results", False) for each in found["expect"]] == [False, True]
    path = tmp_path / "experiment.yaml"
    path.write_text(repeat(store, record).definition)
    again = ablab.experiment(path)
    assert [run.id for run in again.runs] == [run.id for run in ablab.experiment(asked).runs]
    assert [each.after_results for each in again.expectations] == [False, True]


def test_an_expectation_of_the_definition_that_came_after_results_says_so(tmp_path):
    """As where a grid is widened, and a line added, once the first runs have results."""
    first = grid(steps=20, seeds=2)
    fill(tmp_path / "lab", first, flat)
    wider = first | {"expect": ["final(loss) is below 5"], "seeds": 3}
    store, record = fill(tmp_path / "lab", wider, flat)
    assert [each.late for each in stamped(store, record)] == [True]
    assert [each["after_results"] for each in whole_definition(store, record)["expect"]] == [True]
    path = tmp_path / "experiment.yaml"
    path.write_text(repeat(store, record).definition)
    assert [each.after_results for each in ablab.experiment(path).expectations] == [True]


def test_modules_that_the_file_does_not_hold_are_named(tmp_path):
    asked = grid(steps=20, seeds=1) | {"watch": {"statistics": ["grad/*/tests.mine:energy"]}}
    store, record = fill(tmp_path / "lab", grid(steps=20, seeds=1), flat)
    record.definition.update(asked | {"question": "Is it 1:2 or a:b?"})
    assert repeat(store, record).modules == ["grad/*/tests.mine:energy"]
    assert repeat(store, record).command is None  # it has no entry yet


def test_the_page_has_the_definition_and_the_code_of_the_runs_components(tiny, tmp_path):
    train = tiny["train"] | {"steps": 2, "optimizer": "tests.train.my_optimizers:Signs"}
    result = ablab.run(tiny | {"train": train}, store=tmp_path / "lab", quiet=True, device="cpu")
    record = result.store.experiment("tiny")  # with its entry
    found = dict(repeat(result.store, record).files)
    assert list(found) == ["experiment.yaml", "tests/train/my_optimizers.py"]
    code = Path(my_optimizers.__file__).read_text()
    assert found["tests/train/my_optimizers.py"] == code
    page = html.unescape(result.entry.read_text())
    assert code in page
    assert found["experiment.yaml"] in page
    assert "A copy of the code of <code>tests.train.my_optimizers:Signs</code> is below" in page
    (copy,) = (tmp_path / "lab" / "sources").glob("*/tests/train/my_optimizers.py")
    copy.write_text("evil = True")
    lacking = repeat(result.store, record)
    assert [name for name, _ in lacking.files] == ["experiment.yaml"]
    assert (lacking.copied, lacking.modules) == ([], ["tests.train.my_optimizers:Signs"])


def test_a_page_has_no_more_of_the_files_than_it_can_show():
    files = {f"{name}.py": "x" * 29_999 for name in "abcdefgh"} | {"long.py": "x" * 30_001}
    shown = [name for name, text in _shortened(files | {"empty.py": "\n"}) if text is not None]
    assert shown == ["a.py", "b.py", "c.py", "d.py", "e.py", "f.py"]
