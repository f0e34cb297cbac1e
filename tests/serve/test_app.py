import hashlib
import html
import json
import re

import pytest
from starlette.testclient import TestClient

from ablab.serve.app import make_app
from ablab.store import Store
from tests.store.makers import train, train_and_write

ASKED = {
    "name": "served",
    "question": "Is <b>1 < 2</b> & still?",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 40, "batch_size": 8, "evaluate": {"every": 10, "samples": 16}},
    "watch": {"every": 10, "statistics": ["grad/blocks.0.mlp.linear.weight/rms"]},
    "grid": {"train.lr": [1e-3, 1e4]},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return train_and_write(ASKED, tmp_path_factory.mktemp("served") / "lab")


def asking(path):
    app = make_app(path, loopback=True, token=None)
    return TestClient(app, base_url="http://127.0.0.1:8765")


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def pages(lab):
    run = lab.runs[0].run
    number = lab.record.id
    return ["/", f"/experiments/{number}", f"/experiments/{number}/data", f"/runs/{run}",
            f"/runs/{run}/data"]  # fmt: skip


def test_every_page_is_there_and_changes_nothing(lab):
    before = hashes(lab.store.path)
    browser = asking(lab.store.path)
    for path in pages(lab):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert (
            browser.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
        )
    assert hashes(lab.store.path) == before


def test_an_entry_is_not_made_by_looking(lab, tmp_path):
    other = train(ASKED, tmp_path / "lab", "train.steps=10", "seeds=1")
    with other.store.index.transaction() as connection:
        connection.execute("UPDATE experiments SET entry = NULL")
    assert asking(other.store.path).get(f"/experiments/{other.record.id}").status_code == 200
    assert Store(other.store.path).experiment("served").entry is None


def test_the_start_page_lists_experiments_and_runs(lab):
    page = asking(lab.store.path).get("/").text
    assert "Is &lt;b&gt;1 &lt; 2&lt;/b&gt; &amp; still?" in page
    assert "<b>1" not in page
    assert "2 finished" in page and "2 diverged" in page
    for run in lab.runs:
        assert f'href="/runs/{run.run}"' in page
    assert page.count('data-status="diverged"') == 2


def test_an_experiments_page_is_its_entrys_page(lab):
    page = asking(lab.store.path).get(f"/experiments/{lab.record.id}").text
    entry = lab.entry.read_text()
    heads = re.findall(r"<h2>(.*?)</h2>", entry)
    assert [head for head in re.findall(r"<h2>(.*?)</h2>", page) if head in heads] == heads
    for name in ("grid", "data"):
        found = [
            re.search(rf'id="{name}">(.*?)</script>', text, re.DOTALL).group(1)
            for text in (page, entry)
        ]
        assert found[0] == found[1]


def test_the_data_say_how_far_the_runs_are(lab):
    found = asking(lab.store.path).get(f"/experiments/{lab.record.id}/data").json()
    assert found["statuses"] == "2 finished, 2 diverged"
    assert (found["share"], found["running"]) == (1.0, 0)
    assert set(found["data"]) >= {"train_loss", "eval_loss", "grad/blocks.0.mlp.linear.weight/rms"}
    assert [each["label"] for each in found["grid"]["variants"]] == [
        "train.lr=0.001", "train.lr=10000.0",
    ]  # fmt: skip


def test_a_run_leads_to_the_newest_experiment_that_has_it(tmp_path):
    older = train(ASKED, tmp_path / "lab", "train.lr=0.001", "seeds=[0,1]", "train.steps=2")
    newer = train(ASKED, tmp_path / "lab", "train.lr=0.001", "seeds=[1,2]", "train.steps=2")
    home = asking(older.store.path).get("/").text
    expected = {0: older, 1: newer, 2: newer}
    runs = {run.seed: run for run in [*older.runs, *newer.runs]}
    for seed, found in expected.items():
        row = next(each for each in home.split("<tr") if f"/runs/{runs[seed].run}" in each)
        assert re.findall(r"/experiments/(\d+)", row) == [str(found.record.id)]


def test_new_points_are_another_version(tmp_path):
    result = train(ASKED, tmp_path / "lab", "train.lr=0.001", "seeds=1")
    browser = asking(result.store.path)
    path = f"/experiments/{result.record.id}/data"
    first = browser.get(path)
    longer = train(ASKED, tmp_path / "lab", "train.lr=0.001", "seeds=1", "train.steps=60")
    home = browser.get("/").text
    assert home.index(f"/experiments/{longer.record.id}") < home.index(
        f"/experiments/{result.record.id}"
    )
    now = browser.get(f"/experiments/{longer.record.id}/data").json()
    steps = now["data"]["train_loss"]["steps"][0]
    assert steps[-1] == 60
    # The shorter experiment sees its run up to its own steps.
    again = browser.get(path).json()
    assert again["data"] == first.json()["data"]


def test_a_runs_page_has_its_settings_and_its_curve(lab):
    run = lab.runs[0]
    page = asking(lab.store.path).get(f"/runs/{run.run}").text
    assert "<tr><th>train.lr</th><td>0.001</td></tr>" in page
    assert "engine stack" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert data["train_loss"]["steps"][0][-1] == 40
    bad = asking(lab.store.path).get(f"/runs/{lab.runs[-1].run}").text
    assert "the training loss was not finite" in bad


@pytest.mark.parametrize(
    "path",
    ["/experiments/99", pytest.param(f"/experiments/{'9' * 5000}", id="5,000 digits"),
     "/experiments/9223372036854775808", "/experiments/-1", "/experiments/١/data",
     "/runs/%00", "/runs/%ED%A0%80",
     "/runs/nothing", "/runs/%3Cscript%3E", "/runs/..%2f..%2findex.sqlite",
     "/../index.sqlite", "/index.sqlite", "/experiments/1/../../index.sqlite"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(lab, path):
    answer = asking(lab.store.path).get(path)
    assert answer.status_code == 404
    assert "SQLite" not in answer.text and "<script>" not in answer.text.replace("<script>//", "")


def test_names_are_escaped(tmp_path):
    result = train(ASKED | {"grid": {}}, tmp_path / "lab", "train.steps=10", "seeds=1")
    evil = '"><script>alert(1)</script>'
    with result.store.index.transaction() as connection:
        connection.execute("UPDATE experiments SET name = ?, question = ?", (evil, evil))
        connection.execute("UPDATE members SET variant = ?", (json.dumps({evil: evil}),))
    for path in pages(result):
        text = asking(result.store.path).get(path).text
        assert "<script>alert" not in text, path
    assert html.escape("<script>alert(1)") in asking(result.store.path).get("/").text


def test_a_store_that_is_not_there_yet_is_waited_for(tmp_path):
    browser = asking(tmp_path / "lab")
    answer = browser.get("/")
    assert answer.status_code == 200 and "There is no store here yet" in answer.text
    assert browser.get("/experiments/1").status_code == 503
    assert not (tmp_path / "lab").exists()
    train(ASKED, tmp_path / "lab", "train.steps=10", "train.lr=0.001", "seeds=1")
    assert "1 finished" in browser.get("/").text
