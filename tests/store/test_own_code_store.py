"""A store of an earlier release with a user's module, which that release knew by its file's hash.

``fixtures/own-code.tar.xz`` is that store, with the module and what it imports from beside it.
"""

import tarfile
from pathlib import Path

import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.execute.orchestrate import against_stored
from ablab.store.store import Store
from tests.store.makers import train

FIXTURE = Path(__file__).parent / "fixtures" / "own-code.tar.xz"
OLD = ["f889abc306f1", "39e8a1f3fcaf"]
FIRST_LOGIT = 0.8054043054580688  # of the first run's model for the tokens 1, 2, 3


@pytest.fixture
def lab(folder):
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder.path, filter="data")
    return folder.path / "lab"


@pytest.fixture
def asked(lab):
    (record,) = ablab.open(lab).experiments
    return record.definition


def again(asked, lab, *overrides):
    return train(asked, lab, *overrides, engine="solo", compile="off")


def test_its_runs_are_found_again(lab, asked):
    made = ablab.experiment(asked)
    assert {run.id for run in made.runs}.isdisjoint(OLD)
    planned, line = against_stored(made, lab)
    assert [run.id for run in planned.runs] == OLD
    assert line is None
    done = again(asked, lab)
    assert (done.trained, [run.run for run in done.runs]) == (0, OLD)
    assert len(ablab.open(lab).experiments) == 1, "it is the same experiment"


def test_it_goes_on_under_its_id_and_workers_know_it(lab, asked):
    done = train(asked, lab, "train.steps=8", workers=2, engine="solo", compile="off")
    assert [(run.run, run.step) for run in done.runs] == [(run, 8) for run in OLD]
    assert len(ablab.open(lab).runs()) == 2


def test_either_id_opens_a_run(lab, asked):
    new = ablab.experiment(asked).runs[0].id
    again(asked, lab)
    opened = ablab.open(lab)
    assert opened.run(new).id == opened.run(OLD[0]).id == OLD[0]
    assert opened.replay(OLD[0], device="cpu").agrees


def test_its_models_are_built_where_the_file_is_as_it_was(lab, asked, folder):
    tokens = torch.tensor([[1, 2, 3]])
    run = ablab.open(lab).run(OLD[0])
    assert run.model()(tokens)[0, 0, 0].item() == pytest.approx(FIRST_LOGIT, rel=1e-5)
    mine = (folder.path / "mine.py").read_text()
    folder.write(mine=mine + "# a comment\n")
    with pytest.raises(InputError, match="--source current"):
        ablab.open(lab).run(OLD[0]).model()
    folder.write(mine=mine)
    again(asked, lab)  # keeps a copy
    folder.write(mine="x = 1\n", helper="x = 1\n")
    run = ablab.open(lab).run(OLD[0])
    assert run.model()(tokens)[0, 0, 0].item() == pytest.approx(FIRST_LOGIT, rel=1e-5)


def test_a_comment_after_it_was_found_again_trains_nothing(lab, asked, folder):
    again(asked, lab)
    folder.write(mine=(folder.path / "mine.py").read_text() + "# a comment\n")
    assert again(asked, lab).trained == 0


def test_what_it_imports_counts_from_then_on(lab, asked, folder):
    again(asked, lab)
    folder.write(helper="def scale(x):\n    return x * 3.0\n")
    _, line = against_stored(ablab.experiment(asked), lab)
    assert line is not None
    assert "2 of 2 runs are new: helper.py changed (was trained as f889abc306f1 on" in line
    done = again(asked, lab)
    assert done.trained == 2
    assert {run.run for run in done.runs}.isdisjoint(OLD)


def test_a_store_that_is_only_read_gets_no_aliases(lab, asked):
    store = Store(lab, write=False)
    assert not store.index.rows("SELECT * FROM aliases")
    store.close()
