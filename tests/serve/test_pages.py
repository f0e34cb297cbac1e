"""The start page shows a page of the experiments and of the runs, and links to the others."""

import json
import re

import pytest
from starlette.testclient import TestClient

import ablab
from ablab.serve.app import make_app
from ablab.serve.contents import progress
from ablab.store import Store
from ablab.store.leases import Owner
from tests.read.filled import ENVIRONMENT, grid


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr("ablab.serve.contents.ENTRIES", 2)
    monkeypatch.setattr("ablab.serve.contents.RUNS", 5)
    store = Store(tmp_path / "lab", create=True)
    for number in range(5):
        asked = grid(steps=20 + number, seeds=[number]) | {"name": f"e{number}"}
        store.register(ablab.experiment(asked), "ablab run x", ENVIRONMENT)
    return store


def browser(store):
    return TestClient(make_app(store.path, loopback=True, token=None), base_url="http://127.0.0.1")


def shown(page):
    return re.findall(r'<td><a href="/runs/(\w+)"', page), re.findall(r"· (e\d) ·", page)


def test_pages_make_up_the_lists(lab):
    ids = [each.run for each in lab.runs()]
    runs, entries = [], []
    pages = -(-len(ids) // 5)
    for number in range(1, pages + 1):
        found, _ = shown(browser(lab).get(f"/?runs={number}").text)
        assert len(found) <= 5
        runs += found
    for number in (1, 2, 3):
        page = browser(lab).get(f"/?entries={number}").text
        assert f"5 experiments, {len(ids)} runs: {len(ids)} planned" in page
        entries += shown(page)[1]
    assert runs == ids
    assert entries == ["e4", "e3", "e2", "e1", "e0"]


def test_links_keep_the_other_list_where_it_is(lab):
    page = browser(lab).get("/?runs=2&entries=3").text
    assert '<a href="?runs=3&amp;entries=3">next</a>' in page
    assert '<a href="?entries=2&amp;runs=2">previous</a>' in page


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "99999999999999999999999", "1e3"])
def test_a_page_that_is_none_is_the_first_one(lab, number):
    first = shown(browser(lab).get("/").text)
    assert shown(browser(lab).get("/", params={"runs": number, "entries": number}).text) == first


def test_a_page_after_the_last_one_is_the_last_one(lab):
    last = shown(browser(lab).get("/?runs=999").text)[0]
    assert last and last[-1] == lab.runs()[-1].run


def test_a_poll_of_a_page_is_answered_if_anything_changed(lab, monkeypatch):
    monkeypatch.setattr("ablab.serve.response_cache._REST", 0.0)
    client = browser(lab)
    etag = client.get("/?runs=2").headers["etag"]
    assert client.get("/?runs=2", headers={"if-none-match": etag}).status_code == 304
    with lab.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 20 WHERE rowid = 1")
    answer = client.get("/?runs=2", headers={"if-none-match": etag})
    assert answer.status_code == 200
    assert "1 finished" in answer.text


def test_few_runs_need_no_links(lab, monkeypatch):
    monkeypatch.setattr("ablab.serve.contents.ENTRIES", 5)
    monkeypatch.setattr("ablab.serve.contents.RUNS", 500)
    assert "page 1 of" not in browser(lab).get("/").text


def test_a_large_experiment_is_shown_by_its_runs(lab, monkeypatch):
    record = lab.experiments()[0]
    ids = [each.run for each in lab.runs(record)]
    address = f"/experiments/{record.id}"
    small = browser(lab).get(address).text
    monkeypatch.setattr("ablab.serve.contents.LARGE", len(ids) - 1)
    monkeypatch.setattr("ablab.serve.contents.RUNS", 2)
    found = []
    for number in range(1, -(-len(ids) // 2) + 1):
        page = browser(lab).get(f"{address}?runs={number}").text
        assert f"{len(ids)} runs: {len(ids)} planned" in page
        found += shown(page)[0]
    assert found == ids
    assert '<a href="?runs=2">previous</a>' in browser(lab).get(f"{address}?runs=3").text
    whole = browser(lab).get(f"{address}?entry=1").text
    assert 'id="grid"' in whole and 'id="grid"' not in page
    assert re.sub('data-version="[^"]*"', "", whole) == re.sub('data-version="[^"]*"', "", small)


def test_a_large_experiments_page_is_polled(lab, monkeypatch):
    monkeypatch.setattr("ablab.serve.contents.LARGE", 1)
    monkeypatch.setattr("ablab.serve.response_cache._REST", 0.0)
    client, address = browser(lab), f"/experiments/{lab.experiments()[0].id}"
    etag = client.get(address).headers["etag"]
    assert client.get(address, headers={"if-none-match": etag}).status_code == 304
    run = lab.runs(lab.experiments()[0])[0].run
    with lab.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 20 WHERE id = ?", (run,))
    answer = client.get(address, headers={"if-none-match": etag})
    assert "1 finished" in answer.text


def test_the_machines_of_a_cluster_are_named(lab):
    runs = [run.run for run in lab.runs(lab.experiment("e0"))]
    with Owner(lab.index.path) as owner:
        owner.acquire(lab.index, runs[:3])
        hosts = ["box1/boot/space", "box2/boot/space", "box1/boot/space"]
        with lab.index.transaction() as connection:
            for run, host in zip(runs, hosts, strict=False):
                connection.execute(
                    "UPDATE runs SET step = 5, segments = ? WHERE id = ?",
                    (json.dumps([{"from": 0, "to": 5, "host": host}]), run),
                )
        found = progress(lab, lab.runs(lab.experiment("e0")))
        assert "3 running (2 on box1, 1 on box2)" in found["statuses"]
    assert "box1" not in progress(lab, lab.runs(lab.experiment("e0")))["statuses"]
