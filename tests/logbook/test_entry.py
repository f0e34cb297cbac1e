import json
import re

import pytest

from ablab.logbook.entry import write_entry
from ablab.logbook.plotdata import unpacked
from ablab.store import Store
from tests.store.makers import WILD, train_and_write

# Figures of statistics take most of the time of an entry; test_figures_are_drawn_for_each_measure
# looks at them.
PLAIN = "watch.statistics=[]"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    store = tmp_path_factory.mktemp("entry") / "lab"
    asked = {
        "name": "little",
        "question": "Is <b>1 < 2</b> | still?",
        "task": {"kind": "addition", "n_digits": 1},
        "model": {"d_model": 4, "n_heads": 1},
        "train": {"steps": 40, "batch_size": 8, "evaluate": {"every": 10, "samples": 16}},
        "grid": {"train.lr": [1e-3, 1e4]},
        "seeds": 2,
    }
    return train_and_write(asked, store)


def test_the_entry_holds_the_question_the_command_and_the_evidence(written):
    text = (written.entry.parent / "entry.md").read_text()
    for part in (
        "Is <b>1 < 2</b> | still?",
        "ablab.run('little')",
        "| lr 0.001 |",
        "2 finished",
        "2 diverged",
        "figures/train_loss.svg",
        "seeds: 0, 1",
        "train.batch_size = 8",
        "torch 2.",
        "engine stack, width 4, cpu",
        "## Failed and diverged runs",
        written.runs[0].run,
    ):
        assert part in text, part


def test_the_page_is_self_contained_and_escapes_what_users_wrote(written):
    page = written.entry.read_text()
    assert "Is &lt;b&gt;1 &lt; 2&lt;/b&gt; | still?" in page
    outside = re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    assert outside == []
    assert "@import" not in page
    grid, data = (document(page, name) for name in ("grid", "data"))
    (axis,) = grid["axes"]
    assert (axis["key"], axis["short"]) == ("train.lr", "lr")
    assert axis["values"] == ["0.001", "10000.0"]
    assert [each["label"] for each in grid["variants"]] == ["train.lr=0.001", "train.lr=10000.0"]
    curves, steps = data["train_loss"]["curves"], data["train_loss"]["steps"]
    assert [curve["variant"] for curve in curves] == [0, 1]
    mine = steps[curves[0]["steps"]]
    assert mine[-1] == 40
    assert len(unpacked(curves[0]["values"])) == len(unpacked(curves[0]["low"])) == len(mine)
    assert "<svg" in page


def document(page, name):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL).group(1))


def test_figures_are_drawn_for_each_measure(written):
    figures = sorted(path.name for path in (written.entry.parent / "figures").iterdir())
    assert [name for name in figures if "-" not in name] == [
        "eval_accuracy.svg", "eval_loss.svg", "train_loss.svg",
    ]  # fmt: skip
    assert "param-model-update-ratio.svg" in figures
    assert (written.entry.parent / "figures" / "train_loss.svg").read_text().startswith("<svg")


def test_the_logbook_lists_the_newest_first(written):
    store = Store(written.store.path)
    train_and_write(
        written.experiment.definition | {"name": "later", "grid": {}}, store.path, "seeds=1", PLAIN
    )
    text = (store.path / "logbook" / "LOGBOOK.md").read_text()
    assert text.index("-later/entry.md") < text.index("-little/entry.md")


def test_notes_are_kept_when_an_entry_is_rewritten(written):
    store = Store(written.store.path)
    store.note(written.record.id, "the **second** seed looks odd")
    entry = write_entry(store, written.record)
    assert "the **second** seed looks odd" in (entry.folder / "entry.md").read_text()
    assert "<strong>second</strong>" in entry.page.read_text()
    assert entry.page == written.entry


def test_another_question_of_the_same_name_and_day_has_an_entry_of_its_own(written):
    asked = written.experiment.definition | {"question": "Another?", "grid": {}}
    other = train_and_write(asked, written.store.path, "seeds=1", PLAIN)
    assert other.entry.parent.name == written.entry.parent.name + "-2"
    assert written.entry.is_file()


def test_an_entry_needs_neither_corpus_nor_module(tmp_path):
    corpus = tmp_path / "text.txt"
    corpus.write_text("to be or not to be, that is the question " * 20)
    asked = {
        "name": "gone",
        "task": {"kind": "text", "corpus": str(corpus), "seq_len": 4},
        "model": {"kind": "bigram"},
        "train": {"steps": 4, "batch_size": 4},
    }
    result = train_and_write(asked, tmp_path / "lab", PLAIN)
    corpus.unlink()
    result.store.note(result.record.id, "the corpus is gone")
    assert "the corpus is gone" in write_entry(result.store, result.record).page.read_text()
    assert result.store.experiment(result.entry.parent.name).name == "gone"


def test_bundles_are_spelt_out(tmp_path):
    asked = {
        "name": "ladder",
        "task": {"kind": "addition", "n_digits": 1},
        "model": {"d_model": 4, "n_heads": 1},
        "train": {"steps": 4, "batch_size": 4},
        "grid": {"rung": {"table": {"model.kind": "bigram"}, "block": {}}},
    }
    result = train_and_write(asked, tmp_path / "lab", PLAIN)
    text = (result.entry.parent / "entry.md").read_text()
    assert "grid: rung = table: model.kind=bigram; block: the base" in text
    assert "train.weight_decay = 0.01" in text


def test_restarts_are_listed_and_drawn(tmp_path, written):
    result = train_and_write(WILD, tmp_path / "lab", "train.steps=30", "seeds=1", PLAIN)
    text = (result.entry.parent / "entry.md").read_text()
    assert f"- `{result.runs[0].run}`, seed 0: 7 → 0" in text
    page = result.entry.read_text()
    assert "<h2>Restarts</h2>" in page
    data = document(page, "data")
    assert data["train_loss"]["curves"][0]["restarts"][0] == 7
    drawing = (result.entry.parent / "figures" / "train_loss.svg").read_text()
    assert "LineCollection" in drawing
    assert "## Restarts" not in (written.entry.parent / "entry.md").read_text()
