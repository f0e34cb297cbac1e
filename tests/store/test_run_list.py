"""Lists of runs in pages are the complete list, and a run is found without reading the others."""

import pytest

import ablab
from ablab.store import Store, StoreError
from ablab.store.run_list import AT_ONCE
from tests.read.filled import grid


@pytest.fixture
def lab(tmp_path):
    """Three experiments: the last has runs of the first, and one was requested again."""
    store = Store(tmp_path / "lab", create=True)
    asked = [
        grid(steps=20, seeds=4),
        grid(steps=20, seeds=[7, 8]) | {"name": "other"},
        grid(steps=30, seeds=6) | {"name": "further"},
    ]
    for each in (*asked, asked[1]):
        store.register(ablab.experiment(each), "ablab run x", {})
    return store


def test_a_run_is_listed_once_with_its_first_experiment(lab):
    runs = lab.runs()
    names = [record.name for record in lab.experiments()]
    assert names[-1] == "other"
    assert len({each.run for each in runs}) == len(runs)
    firsts = [each.experiments[0] for each in runs]
    assert list(dict.fromkeys(firsts)) == names
    both = [each for each in runs if len(each.experiments) == 2]
    assert {each.steps for each in both} == {30}
    assert len(both) == len(lab.runs(lab.experiment(names[0])))


@pytest.mark.parametrize("size", [1, 3, 5, 7, 1_000])
def test_pages_make_up_the_list(lab, size):
    every = lab.runs()
    found, first = [], 0
    while first < len(every):
        page, total = lab.run_page(first, size)
        assert total == len(every)
        assert len(page) == min(size, len(every) - first)
        found += page
        first += size
    assert found == every
    assert lab.run_page(len(every), size) == ([], len(every))


def test_the_list_can_be_read_as_it_goes_on(lab, monkeypatch):
    every = lab.runs()
    monkeypatch.setattr("ablab.store.run_list.AT_ONCE", 4)
    assert AT_ONCE > 4
    assert list(lab.each_run()) == every


def test_records_of_some_runs(lab):
    every = lab.runs()
    some = [every[5], every[0], every[-1]]
    assert lab.run_records([each.run for each in some]) == some
    assert lab.known([every[0].run, "0" * 12]) == {every[0].run}
    with pytest.raises(StoreError, match="has no run"):
        lab.run_records([every[0].run, "zzz"])


def test_a_run_is_found_by_every_prefix_that_only_it_has(lab):
    ids = [each.run for each in lab.runs()]
    for run in ids:
        for length in range(1, 13):
            alike = [each for each in ids if each.startswith(run[:length])]
            if len(alike) == 1:
                assert lab.run_row(run[:length])["id"] == run
            else:
                with pytest.raises(StoreError, match="more than one run"):
                    lab.run_row(run[:length])
    for wrong in ("", "g", ids[0] + "0", ids[0][:4] + "*", "[0-9]"):
        with pytest.raises(StoreError, match="has no run"):
            lab.run_row(wrong)


def test_in_a_large_store_a_similar_id_is_still_suggested(lab, monkeypatch):
    run = lab.runs()[0].run
    typo = run[:5] + run[6:]
    monkeypatch.setattr("ablab.store.store._ALIKE", 5)
    with pytest.raises(StoreError) as found:
        lab.run_row(typo)
    assert found.value.problems[0].suggestion == run
