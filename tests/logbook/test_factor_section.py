"""The section on factors."""

import re

from ablab.logbook.entry import write_entry
from ablab.logbook.factor_section import factor_section
from ablab.read.by_factor import by_factor
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill
from tests.read.test_by_factor import ASKED, LEARNT, evaluations


def factors_of(store, record):
    runs = experiment_runs(store, record)
    return by_factor(store, record, runs), runs


def test_a_task_without_factors_has_no_section(tmp_path):
    asked = {
        "name": "made-up",
        "question": "Does it?",
        "task": {"kind": "modular", "p": 7},
        "train": {"steps": 60},
        "seeds": 2,
    }
    store, record = fill(
        tmp_path,
        asked,
        lambda keys, seed, steps: {"train_loss": 1.0 / steps, "eval_loss": 1.0 / steps},
    )
    assert factor_section(*factors_of(store, record)) == []
    entry = write_entry(store, record)
    assert "By factor" not in entry.page.read_text(encoding="utf-8")
    assert "By factor" not in (entry.folder / "entry.md").read_text(encoding="utf-8")


def test_a_panel_for_each_measure_and_a_line_for_each_value(tmp_path):
    store, record = fill(tmp_path, ASKED, evaluations(LEARNT))
    (found,) = factor_section(*factors_of(store, record))
    words = re.findall(r"<text[^>]*>([^<]*)</text>", found.drawings["carry_into_1"])
    assert {"no", "yes", "held-out loss", "held-out accuracy", "step"} <= set(words)
    entry = write_entry(store, record)
    page = entry.page.read_text(encoding="utf-8")
    assert "<h2>By factor</h2>" in page and found.sentences[0] in page
    text = (entry.folder / "entry.md").read_text(encoding="utf-8")
    assert "## By factor" in text and f"  - {found.sentences[0]}" in text
    assert (entry.folder / "figures" / "by-factor-0-carry_into_1.svg").is_file()


def test_without_factors_there_is_no_section(tmp_path):
    store, record = fill(
        tmp_path, ASKED | {"task": {"kind": "addition"}}, lambda keys, seed, steps: 1 / steps
    )
    assert factor_section(*factors_of(store, record)) == []
    assert "By factor" not in write_entry(store, record).page.read_text(encoding="utf-8")
