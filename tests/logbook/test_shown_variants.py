"""Of many variants, an entry shows some one by one, and says which; the rest is of all."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from ablab.logbook import shown_variants as module
from ablab.logbook.conclusions import experiment_answer, shown_in_entry
from ablab.logbook.entry import entry_content, write_entry
from ablab.logbook.shown_variants import shown_variants
from ablab.serve.app import make_app
from ablab.store.metrics import experiment_runs
from tests.logbook.made_up import measured
from tests.read.filled import fill, grid

WIDTHS = [8, 12, 16, 20, 24, 28, 32]
# By their final loss, 20 is the best, then 8, 28, 12, 32, 16 and 24.
LOSSES = dict(zip(WIDTHS, (0.2, 0.4, 0.6, 0.1, 0.7, 0.3, 0.5), strict=True))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(module, "MOST", 4)
    monkeypatch.setattr(module, "BEST", 2)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    def curve(keys, seed, steps):
        end = LOSSES[keys["model.d_model"]] + 0.001 * seed
        return {
            "train_loss": end + 2 * np.exp(-steps / 5.0),
            "eval_loss": np.where(steps % 10 == 0, end, np.nan),
        }

    asked = grid(steps=60, seeds=2, answer="final(eval_loss)", grid={"model.d_model": WIDTHS})
    return fill(tmp_path_factory.mktemp("many") / "lab", asked, curve)


class Run:
    def __init__(self, width):
        self.variant = {"model.d_model": width}


def shown(measure, cells):
    found = shown_variants([Run(width) for width in cells], measured(measure, cells))
    return [run.variant["model.d_model"] for run in found.runs], found


def test_few_variants_are_all_shown():
    runs, found = shown("final(eval_loss)", {"8": [0.2], "16": [0.1]})
    assert (runs, found.places, found.words) == (["8", "16"], [0, 1], "")


@pytest.mark.parametrize(
    ("measure", "places"),
    [
        # Losses 1 to 9: 1 and 2 are the best; of the others, the best and the worst.
        ("final(eval_loss)", [0, 1, 2, 8]),
        ("final(eval_accuracy)", [0, 6, 7, 8]),
        ("final(lr)", [0, 3, 5, 8]),  # neither is better: equal distances
    ],
)
def test_the_best_are_shown_and_others_from_best_to_worst(few, measure, places):
    cells = {str(4 * (n + 2)): [(n + 1) / 10] for n in range(9)}
    assert shown(measure, cells)[1].places == places


def test_without_values_the_order_is_that_of_the_grid(few):
    runs = [Run(width) for width in range(10) for _ in range(2)]
    found = shown_variants(runs, None)
    assert found.places == [0, 3, 6, 9]
    assert [run.variant["model.d_model"] for run in found.runs] == [0, 0, 3, 3, 6, 6, 9, 9]
    assert "4 of 10 variants: at equal distances in the order of the grid." in found.words


def test_the_entry_shows_these_and_says_so(few, filled):
    store, record = filled
    entry = write_entry(store, record)
    text, page = (entry.folder / "entry.md").read_text(), entry.page.read_text()
    for each in (text, page):
        assert "4 of 7 variants: the 2 best by the final held-out loss, and 2 at equal" in each
    kept = ["d_model 8", "d_model 20", "d_model 24", "d_model 28"]
    content = entry_content(store, record)
    assert [row[0].text for row in content["result"].rows] == kept
    assert [name for name, _, _ in content["findings"].variants] == kept
    drawn = json.loads(content["plot"].grid)
    assert len(drawn["variants"]) == 4
    assert len(content["run_ids"]) == 8
    assert "Runs (8 of 14)" in page


def test_the_rest_is_of_all_variants(few, filled):
    store, record = filled
    content = entry_content(store, record)
    runs = experiment_runs(store, record)
    assert len(content["findings"].measured.variants) == len(WIDTHS)
    assert content["statuses"] == "14 finished"
    assert len(content["findings"].effects[0].cells) == len(WIDTHS)
    assert content["findings"].readings.keys() == {run.run for run in runs}
    scale = content["result"].scales[-3]
    assert re.fullmatch(r"0\.1 to 0\.701", scale), "dots are on the scale of all variants"


def test_of_few_variants_nothing_is_said(filled):
    store, record = filled
    content = entry_content(store, record)
    assert len(content["result"].rows) == len(WIDTHS)
    assert content["findings"].shown.words == ""
    assert "variants:" not in write_entry(store, record).page.read_text().split("<main>")[1][:3000]


def test_a_live_page_has_the_curves_of_the_same_variants(few, filled):
    store, record = filled
    answer = TestClient(
        make_app(store.path, loopback=True, token=None), base_url="http://127.0.0.1"
    ).get(f"/experiments/{record.id}/data")
    live = answer.json()["grid"]["variants"]
    assert live == json.loads(entry_content(store, record)["plot"].grid)["variants"]
    assert len(live) == 4


def test_until_all_runs_have_ended_the_order_is_that_of_the_grid(few, filled):
    store, record = filled
    runs = experiment_runs(store, record)
    answer = experiment_answer(store, record, runs)
    running = [replace(runs[0], status="running"), *runs[1:]]
    assert shown_in_entry(record, runs, answer)[1].places == [0, 3, 4, 5]
    assert shown_in_entry(record, running, answer)[1].places == [0, 2, 4, 6]
