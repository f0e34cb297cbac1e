import json
import random

import numpy as np
import pytest

from ablab.logbook.entry import write_entry
from ablab.logbook.notes import BEGIN, end_line
from tests.logbook.edited_notes import put_notes, read_notes
from tests.read.filled import fill, grid


@pytest.fixture
def stored(tmp_path):
    asked = grid(steps=60, seeds=1) | {"grid": {"model.d_model": [8]}}  # few figures
    return fill(tmp_path / "lab", asked, lambda keys, seed, steps: 1 + 1 / steps)


def add_note(store, record, text):
    store.note(record.id, text)
    return write_entry(store, record)


def test_notes_survive_twenty_rewrites_with_edits_between(stored):
    store, record = stored
    entry = write_entry(store, record)
    path = entry.folder / "entry.md"
    draw = random.Random(0)
    pieces = [
        "- one\n",
        "### A heading of mine\n\n",
        "| a | b |\n|---|---|\n",
        "\n\n\n",
        "```\n## x\n```\n",
        "<!-- mine -->\n",
        "  trailing  \n",
        "Ünïcode ✓ {{ jinja }} {% if %}\n",
        "no end",
        "\r\n",
    ]
    for number in range(20):
        notes = read_notes(path)
        place = draw.randrange(len(notes) + 1)
        notes = notes[:place] + pieces[number % len(pieces)] + notes[place:]
        put_notes(path, notes)
        if number % 5 == 4:
            add_note(store, record, f"note **{number}**")
            assert read_notes(path).startswith(notes)
            assert read_notes(path).rstrip().endswith(f"note **{number}**")
        else:
            write_entry(store, record)
            assert read_notes(path) == notes


def test_notes_of_an_earlier_release_are_kept(stored):
    store, record = stored
    path = write_entry(store, record).folder / "entry.md"
    earlier = "Notes: yours. What stands between this line and the next such is kept as it is."
    earlier = f"<!-- {earlier} -->"
    put_notes(path, "mine\n")
    path.write_text(path.read_text().replace(BEGIN, earlier))
    write_entry(store, record)
    assert read_notes(path) == "mine\n"
    assert BEGIN in path.read_text() and earlier not in path.read_text()


def test_a_heading_is_enough(stored):
    store, record = stored
    path = write_entry(store, record).folder / "entry.md"
    text = path.read_text().replace(BEGIN, "mine").replace(end_line(0) + "\n", "")
    path.write_text(text)
    write_entry(store, record)
    assert read_notes(path).strip() == "mine"


def test_a_lost_entry_has_the_stores_notes(stored):
    store, record = stored
    path = add_note(store, record, "kept").folder / "entry.md"
    assert "kept" in read_notes(path)
    path.unlink()
    write_entry(store, record)
    assert "kept" in read_notes(path)


def test_notes_are_text_and_no_markup_of_the_page(stored):
    store, record = stored
    page = add_note(store, record, "<script>alert(1)</script> *mine*").page.read_text()
    assert "<script>alert" not in page
    assert "<em>mine</em>" in page


def test_a_failed_expectation_is_no_negative_result(tmp_path):
    expect = ["final(loss) is below 0.5 with confidence 0.9"]
    rng = np.random.default_rng(0)
    store, record = fill(
        tmp_path / "lab",
        grid(steps=60, seeds=3, expect=expect),
        lambda keys, seed, steps: 1 + 0.01 * rng.standard_normal(len(steps)),
    )
    entry = write_entry(store, record)
    listed = (entry.folder.parent / "LOGBOOK.md").read_text()
    assert "Negative result" not in listed
    assert "- Failed: final(loss) is below 0.5 (" in listed
    assert "0% held; the mean stated confidence is 90%" in listed
    assert json.loads((entry.folder / "findings.json").read_text())["verdicts"][0]["late"] is False


def test_only_a_tested_equivalence_is_a_negative_result(tmp_path):
    expect = ["final(loss) is the same where model.n_heads=1 as where model.n_heads=4 within 0.1"]
    rng = np.random.default_rng(0)
    store, record = fill(
        tmp_path / "lab",
        grid(steps=60, seeds=3, expect=expect),
        lambda keys, seed, steps: 1 + 0.01 * rng.standard_normal(len(steps)),
    )
    listed = (write_entry(store, record).folder.parent / "LOGBOOK.md").read_text()
    assert "**Negative result**: final(loss) is the same" in listed
