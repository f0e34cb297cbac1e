"""A store whose files are cut off at any byte opens, or says clearly what is damaged."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ablab
from ablab.store import StoreError
from ablab.store.check import check_store
from tests.store.makers import train


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "lab"
    asked = {
        "name": "cut",
        "task": {"kind": "addition", "n_digits": 1},
        "model": {"d_model": 4, "n_heads": 1},
        "train": {"steps": 4, "batch_size": 4, "evaluate": {"every": 4, "samples": 8}},
    }
    result = train(asked, folder)
    metrics = result.metrics()
    result.store.close()
    return folder, metrics


def test_a_sound_store_checks_out(sound):
    store = ablab.open(sound[0]).store
    found = check_store(store)
    store.close()
    assert (found.problems, found.leftovers) == ([], [])
    assert (found.runs, found.parts) == (1, 1)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_cut_off_at_any_byte_is_noticed(sound, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut") / "lab"
    shutil.copytree(sound[0], folder)
    files = sorted(
        path for path in folder.rglob("*") if path.suffix in (".parquet", ".safetensors")
    )
    victim = data.draw(st.sampled_from([*files, folder / "index.sqlite"]))
    size = victim.stat().st_size
    cut = data.draw(st.integers(0, size - 1))
    victim.write_bytes(victim.read_bytes()[:cut])
    try:
        opened = ablab.open(folder)
        problems = check_store(opened.store).problems
        if not problems:  # only what SQLite fills up with zeros was cut, and they were zeros
            assert victim.name == "index.sqlite"
            assert opened.metrics("cut").equals(sound[1])
        opened.store.close()
    except StoreError as error:
        problems = [str(error)]
    if victim.name == "index.sqlite":
        assert all(problem.startswith(("the store's index is ", "index: ")) for problem in problems)
    else:
        (problem,) = problems
        assert str(victim) in problem


def test_leftovers_of_work_that_was_cut_short_are_harmless(sound, tmp_path):
    folder = tmp_path / "lab"
    shutil.copytree(sound[0], folder)
    (folder / "metrics" / "orphan.parquet").write_bytes(b"PAR1")
    (folder / "snapshots" / ".partial-x").write_bytes(b"")
    found = check_store(ablab.open(folder).store)
    assert found.problems == []
    assert len(found.leftovers) == 2
    assert ablab.open(folder).metrics("cut").height == 5
