"""``ablab runs`` lists a page of a large store, and all of it where that is asked for."""

import json
import re

import pytest

import ablab
from ablab.store import Store
from tests.cli.command import run_command
from tests.read.filled import grid


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lab"
    store = Store(path, create=True)
    for seeds, name in ((4, "first"), (6, "second")):
        asked = grid(steps=20 + seeds, seeds=seeds) | {"name": name}
        store.register(ablab.experiment(asked), "ablab run x", {})
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET train_loss = 9e999 WHERE rowid = 1")
    store.close()
    return str(path)


def listed(text):
    return re.findall(r"^\W*(?:run +)?([0-9a-f]{12})\b", text, re.MULTILINE)


def test_the_document_is_the_one_of_a_list(lab):
    code, out, err = run_command("runs", "--json", "--store", lab)
    records = [vars(each) for each in Store(lab).runs()]
    assert (code, err) == (0, "")
    assert records[0]["train_loss"] is None
    assert out == json.dumps(records, indent=1, ensure_ascii=False) + "\n"


def test_an_empty_store_is_an_empty_list(tmp_path):
    Store(tmp_path / "lab", create=True).close()
    code, out, _ = run_command("runs", "--json", "--store", str(tmp_path / "lab"))
    assert (code, out) == (0, "[]\n")


def test_a_limit_lists_the_first_runs_and_says_how_many_there_are(lab):
    ids = [each.run for each in Store(lab).runs()]
    code, out, err = run_command("runs", "--limit", "5", "--store", lab)
    assert (code, listed(out)) == (0, ids[:5])
    total = len(ids)
    assert err == (
        f"the first 5 of {total} runs: --all lists all; ablab runs EXPERIMENT lists those of one\n"
    )
    found = json.loads(run_command("runs", "--limit", "5", "--json", "--store", lab)[1])
    assert [each["run"] for each in found] == ids[:5]


def test_by_default_a_table_is_a_page(lab, monkeypatch):
    ids = [each.run for each in Store(lab).runs()]
    monkeypatch.setattr("ablab.cli.show._PAGE", 3)
    assert listed(run_command("runs", "--store", lab)[1]) == ids[:3]
    code, out, err = run_command("runs", "--all", "--store", lab)
    assert (code, listed(out), err) == (0, ids, "")
    found = json.loads(run_command("runs", "--json", "--store", lab)[1])
    assert [each["run"] for each in found] == ids


def test_an_experiments_runs_are_listed_by_its_name(lab):
    store = Store(lab)
    ids = [each.run for each in store.runs(store.experiment("second"))]
    for arguments in (["second"], ["--experiment", "second"], ["second", "--experiment", "second"]):
        code, out, err = run_command("runs", *arguments, "--store", lab)
        assert (code, listed(out), err) == (0, ids, "")
    code, out, err = run_command("runs", "second", "--limit", "2", "--store", lab)
    assert listed(out) == ids[:2]
    assert err == f"the first 2 of {len(ids)} runs: --all lists all\n"


@pytest.mark.parametrize(
    "arguments",
    [["first", "--experiment", "second"], ["--all", "--limit", "3"], ["--limit", "0"], ["third"]],
)
def test_what_contradicts_itself_is_refused(lab, arguments):
    assert run_command("runs", *arguments, "--store", lab)[0] == 2
