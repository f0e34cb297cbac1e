"""A text experiment's samples are generated when training ends, and shown from the store."""

from unittest import mock

import pytest
from starlette.testclient import TestClient

import ablab
from ablab.execute import samples
from ablab.execute.options import Options
from ablab.execute.orchestrate import orchestrate
from ablab.execute.progress import QuietReporter
from ablab.logbook.entry import entry_content, write_entry
from ablab.logbook.samples import of_variants, shown_samples
from ablab.serve.app import make_app
from ablab.store import Store
from ablab.store.samples import stored_samples
from tests.store.makers import train

MODULE = """
import torch

class Mine(torch.nn.Module):
    def __init__(self, vocab_size, fails=False):
        super().__init__()
        self.table = torch.nn.Embedding(vocab_size, vocab_size)
        self.fails = fails

    def forward(self, tokens):
        if self.fails and tokens.shape[1] != 4:
            raise RuntimeError("only four tokens")
        return self.table(tokens)
"""


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    monkeypatch.setattr(samples, "_TOKENS", 12)


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 40)
    return {
        "name": "texts",
        "task": {"kind": "text", "corpus": str(tmp_path / "text.txt"), "seq_len": 4},
        "model": {"kind": "bigram"},
        "train": {"steps": 4, "batch_size": 4},
        "grid": {"train.lr": [0.01, 0.1]},
        "seeds": 2,
    }


def run(asked, store, *overrides):
    """Trains without an entry; returns the experiment's record and what was said."""
    said = []
    reporter = QuietReporter()
    reporter.message = said.append
    options = Options(workers=1, compiling="off")
    made = ablab.experiment(asked, *overrides)
    return orchestrate(made, store, options, "", reporter, lambda: False), said


def test_samples_are_kept_with_run_and_step_and_shown_without_corpus(asked, tmp_path):
    trained = train(asked, tmp_path / "lab")
    first = [each.run for each in trained.runs if each.seed == 0]
    kept = stored_samples(trained.store, [each.run for each in trained.runs])
    assert list(kept) == [(each, 4) for each in sorted(first)]
    for sample in kept.values():
        assert sample.text.startswith("\n")
        assert 1 <= len(sample.text) <= 13
        assert set(sample.text) <= set("to be or not to be\n")
        assert sample.about == {"temperature": 0.8, "tokens": 12, "seed": 0}
    (tmp_path / "text.txt").unlink()
    shown = entry_content(trained.store, trained.record)["samples"]
    assert [(each["run"], each["step"]) for each in shown] == [(each, 4) for each in first]
    assert [each["label"] for each in shown] == ["lr 0.01", "lr 0.1"]
    entry = write_entry(trained.store, trained.record)
    assert not (entry.folder / "samples.json").exists()
    browser = TestClient(
        make_app(tmp_path / "lab", loopback=True, token=None), base_url="http://127.0.0.1:8765"
    )
    for text in (entry.page.read_text(), browser.get(f"/experiments/{trained.record.id}").text):
        assert text.count("step 4)</figcaption>") == 2
        assert "by the first seed of each variant." in text
    assert of_variants(13, 48) == "13 of 48 variants"


def test_a_store_of_an_earlier_release_gets_samples_when_it_is_run_again(asked, tmp_path):
    trained = train(asked, tmp_path / "lab")
    before = stored_samples(trained.store, [each.run for each in trained.runs])
    with mock.patch.object(samples, "_sample", side_effect=AssertionError):
        run(asked, tmp_path / "lab")  # nothing is made twice
    with trained.store.index.transaction() as connection:
        connection.execute("DELETE FROM samples")
        connection.execute("DROP TABLE samples")
    trained.store.close()
    again, said = run(asked, tmp_path / "lab")
    assert again.trained == 0
    assert stored_samples(again.store, [each.run for each in trained.runs]) == before
    assert not any("sample" in each for each in said)


def test_more_steps_give_another_sample(asked, tmp_path):
    few, many = (run(asked, tmp_path / "lab", f"train.steps={n}")[0] for n in (4, 8))
    for done, step in ((few, 4), (many, 8)):
        shown = entry_content(done.store, done.record)["samples"]
        assert [each["step"] for each in shown] == [step, step]


def test_without_a_newline_to_start_from_there_is_no_sample(asked, tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be, " * 40)
    done, said = run(asked, tmp_path / "lab", "seeds=1")
    assert done.complete
    assert sum("the corpus has no character '\\n'" in each for each in said) == 2
    assert entry_content(done.store, done.record)["samples"] == []


def test_a_module_that_cannot_generate_fails_no_run(asked, tmp_path, monkeypatch):
    (tmp_path / "my_texts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = {"model": {"kind": "my_texts:Mine", "fails": False}}
    done, said = run(asked | mine, tmp_path / "lab", "seeds=1", "model.fails=false,true")
    assert {each.status for each in done.store.runs(done.record)} == {"finished"}
    assert sum("RuntimeError: only four tokens" in each for each in said) == 2
    assert len(entry_content(done.store, done.record)["samples"]) == 2
    (tmp_path / "my_texts.py").unlink()
    assert len(entry_content(done.store, done.record)["samples"]) == 2


def test_samples_that_an_earlier_release_saved_with_the_entry_are_shown(tiny, tmp_path):
    store = Store(tmp_path / "lab", create=True)
    record = store.register(ablab.experiment(tiny), "", {})
    entry = store.entry_folder(record)
    folder = tmp_path / "lab" / "logbook" / entry
    folder.mkdir(parents=True)
    (folder / "samples.json").write_text('[{"label": "a", "run": "b", "step": 1, "text": "c"}]')
    assert shown_samples(store, store.experiment("tiny"), [])[0]["text"] == "c"
