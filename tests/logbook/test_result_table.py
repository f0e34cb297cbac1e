"""The table of results on made-up curves: counts before medians, a dot for each run."""

from dataclasses import replace

import numpy as np
import pytest

from ablab.logbook.entry import entry_content, write_entry
from ablab.logbook.page import templates
from ablab.logbook.result_table import _learnt_words
from tests.logbook.made_up import measured
from tests.read.filled import fill, grid

LEARNT = {8: (0, 2, 3), 16: (0, 1, 2, 3, 4)}  # the seeds that learn


def curve(keys, seed, steps):
    """Accuracy 0.9 + seed / 100 for runs that learn, else 0.1 + seed / 1000."""
    learns = seed in LEARNT[keys["model.d_model"]]
    accuracy = 0.9 + seed / 100 if learns else 0.1 + seed / 1000
    return {
        "train_loss": np.full(len(steps), 0.01 + seed / 1000 if learns else 2.3 + seed / 1000),
        "eval_accuracy": np.where(steps % 10 == 0, accuracy, np.nan),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    asked = grid(steps=60, seeds=5, answer="final(accuracy)")
    asked["grid"] = {"model.d_model": [8, 16]}
    store, record = fill(tmp_path_factory.mktemp("table") / "lab", asked, curve)
    entry = write_entry(store, record)
    return entry, entry_content(store, replace(record, entry=entry.folder.name))


def test_how_many_learnt_stands_before_their_median(written):
    table = written[1]["result"]
    assert table.header == ["variant", "training loss", "held-out accuracy", "runs", "steps"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["d_model 8", "3 of 5 runs learnt: 0.012 [0.01, 0.013]",
         "3 of 5 runs learnt: 0.92 [0.9, 0.93]", "5 finished", "60"],
        ["d_model 16", "5 of 5 runs learnt: 0.012 [0.01, 0.014]",
         "5 of 5 runs learnt: 0.92 [0.9, 0.94]", "5 finished", "60"],
    ]  # fmt: skip
    assert (
        "| d_model 8 | 3 of 5 runs learnt: 0.012 [0.01, 0.013] | 3 of 5 runs learnt"
        in (written[0].folder / "entry.md").read_text()
    )


def test_which_runs_learnt_is_said(written):
    # The loss of guessing a digit is log 10 = 2.303; learnt is at most 0.9 of it, guessing at
    # least 0.97, so that the two are parted at 0.935 log 10 = 2.153.
    notes = written[1]["result"].notes
    # Of those that learnt, the loss of seed 4 is the highest: 0.014; of the others, seed 1's 2.301.
    assert notes[0] == (
        "A run learnt if its training loss ended below 2.15 (the nearest ended at 0.014 and 2.3)."
    )
    assert notes[1].startswith("A run learnt if its held-out accuracy ended above 0.")
    assert notes[0] in (written[0].folder / "entry.md").read_text()


def test_a_run_without_an_evaluation_at_its_end_has_its_last_one(tmp_path):
    """Evaluated at 10, 20, … 60, but one run of a variant only until 40, and one never."""

    def evaluated(keys, seed, steps):
        until = {0: 60, 1: 40, 2: 0}[seed] if keys["model.d_model"] == 8 else 60
        there = (steps % 10 == 0) & (steps <= until)
        return {
            "train_loss": np.full(len(steps), 1.0),
            "eval_loss": np.where(there, 0.5 + 0.01 * seed - 0.0005 * steps, np.nan),
        }

    asked = grid(steps=60, seeds=3, answer="final(eval_loss)")
    asked["grid"] = {"model.d_model": [8, 16]}
    store, record = fill(tmp_path / "lab", asked, evaluated)
    content = entry_content(store, record)
    table = content["result"]
    assert table.header[2] == "held-out loss"
    # Seed 0 has 0.47 at step 60 and seed 1 has 0.49 at step 40; the others 0.47, 0.48 and 0.49.
    assert [row[2].text for row in table.rows] == [
        "0.48 [0.47, 0.49]; 1 not evaluated", "0.48 [0.47, 0.49]"
    ]  # fmt: skip
    page = templates().get_template("results.html.j2").render(content)
    assert '</svg>0.48 [0.47, 0.49]<span class="count">1 not evaluated</span></td>' in page
    assert table.notes == [
        "Held-out values are of the last evaluation that each run has: of 4 of 6 runs at their "
        "last step, of 1 up to 20 steps earlier, 1 has none."
    ]


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ("final(eval_loss)", "A run learnt if its held-out loss ended below 1 (the nearest ended "),
        ("best(eval_loss)", "A run learnt if its best held-out loss is below 1 (the nearest are "),
    ],
)
def test_a_value_of_the_end_is_not_said_to_end_twice(measure, said):
    rows = measured(measure, {"8": [0.1, 0.12, 2.2, 2.21], "16": [0.1, 0.11, 0.12, 2.2]})
    told = _learnt_words(rows.words, replace(rows, cut=1.0))
    assert told == f"{said}{'at ' if 'ended' in said else ''}0.12 and 2.2)."


def test_every_run_is_a_dot_on_one_scale(written):
    first, second = (row[2].strip for row in written[1]["result"].rows)
    assert first.count('<circle class="in"') == 3
    assert first.count('<circle class="out"') == 2
    assert second.count('<circle class="in"') == 5
    assert written[1]["result"].scales[2] == "0.101 to 0.94"
    # 116 pixels with edges of 4: 0.101 is the lowest value, 0.94 the highest.
    assert 'cx="4"' in first
    assert 'cx="112"' in second


def test_the_sections_stand_in_their_order(written):
    page = written[0].page.read_text()
    names = ["<h1>", 'class="answer', 'class="key"', "<h2>Curves", "<h2>Result", "<h2>Effects",
             "<h2>Readings", "<h2>Settings", "<h2>Environment"]  # fmt: skip
    places = [page.index(name) for name in names]
    assert places == sorted(places)
    assert "<h2>Notes</h2>" not in page
    assert "No notes yet" in page
    text = (written[0].folder / "entry.md").read_text()
    assert text.index("figures/key-figure.svg") < text.index("## Notes") < text.index("## Curves")
    assert (written[0].folder / "figures" / "key-figure.svg").is_file()


def test_notes_stand_below_the_answer(written):
    text = (written[0].folder / "entry.md").read_text()
    assert text.count("## Notes") == 1
    assert text.index("## Notes") < text.index("## Result")


def test_the_entry_is_repeated_from_its_own_file(written):
    content = written[1]
    assert content["repeat"].command is not None
    assert content["repeat"].command.startswith("ablab run lab/logbook/2")
    assert content["repeat"].command.endswith("-made-up/experiment.yaml --store lab")
    file = written[0].folder / "experiment.yaml"
    assert file.read_text() == content["repeat"].definition
    assert content["repeat"].command in (written[0].folder / "entry.md").read_text()
    assert content["repeat"].command in written[0].page.read_text()
