"""The answer to the question in the heading, on made-up curves whose answer is known."""

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.logbook.conclusions import find
from ablab.logbook.entry import write_entry
from ablab.store.metrics import experiment_runs
from tests.read.filled import fill, grid, leaving


def answer_of(path, asked, curve, late=()):
    store, record = fill(path / "lab", asked, curve, late)
    return find(store, record, experiment_runs(store, record)).answer


def leaves(keys, seed, steps):
    """Leaves log 10 at 2,400 / width; with one head and width 8 never."""
    at = 2400 / keys["model.d_model"]
    if keys["model.d_model"] == 8 and keys["model.n_heads"] == 1:
        at = 10**6
    return leaving(np.random.default_rng(seed), steps, at)


def test_counts_come_before_any_test(tmp_path):
    found = answer_of(tmp_path, grid(steps=500, seeds=3, answer="leaves(log(10))"), leaves)
    assert found.state == "answered"
    assert found.sentences[0] == (
        "Step at which the training loss leaves log 10: reached by 15 of 18 runs: all in 5 "
        "variants; none with d_model 8, 1 head."
    )


def test_the_question_names_its_measure(tmp_path):
    found = answer_of(tmp_path, grid(steps=500, seeds=3, answer="final(loss)"), leaves)
    assert found.measure == "final(loss)"
    assert found.declared
    assert found.sentences[0].startswith("Final training loss: lowest with d_model 32, ")
    assert "; highest with d_model 8, 1 head, 2.3" in found.sentences[0]


def test_without_an_answer_the_first_expectation_names_the_measure(tmp_path):
    expect = ["leaves(log(10)) falls with model.d_model", "final(loss) is below 5"]
    asked = grid(steps=500, seeds=3, expect=expect)
    del asked["grid"]["model.n_heads"]
    asked["grid"]["model.d_model"] = [16, 32]
    curve = lambda keys, seed, steps: leaving(  # noqa: E731
        np.random.default_rng(seed), steps, 2400 / keys["model.d_model"]
    )
    found = answer_of(tmp_path, asked, curve)
    assert found.measure == "leaves(log(10))"
    assert found.sentences[0].startswith("Held: leaves(log(10)) falls with model.d_model (")
    assert found.sentences[-1] == "Of 2 expectations: 2 held."


def test_nothing_is_concluded_while_runs_are_missing(tmp_path):
    store, record = fill(tmp_path / "lab", grid(steps=60, seeds=3), leaves)
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = 30 WHERE rowid = 1")
    found = find(store, record, experiment_runs(store, record))
    assert found.answer.state == "unfinished"
    assert found.answer.sentences == ["Nothing is concluded yet: 17 runs of 18 have ended."]
    assert found.sentences == []
    assert found.effects == []


def test_noise_is_not_decided(tmp_path):
    rng = np.random.default_rng(3)
    found = answer_of(
        tmp_path,
        grid(steps=60, seeds=3, answer="final(loss)"),
        lambda keys, seed, steps: 1 + 0.1 * rng.standard_normal() + 0 * steps,
    )
    assert found.state == "open"
    assert found.negative == []
    assert found.sentences[1].startswith("Not yet decided")


def test_one_seed_decides_nothing(tmp_path):
    found = answer_of(tmp_path, grid(steps=60, seeds=1, answer="final(loss)"), leaves)
    assert found.state == "open"
    assert found.sentences[1] == (
        "Not yet decided: one seed says nothing about chance; begin with 3 more."
    )


def test_a_single_variant_has_its_values(tmp_path):
    asked = grid(steps=60, seeds=3, answer="final(loss)") | {"grid": {}}
    found = answer_of(tmp_path, asked, lambda keys, seed, steps: 1 + seed + 0 * steps)
    assert found.sentences == ["Final training loss: 2 [1, 3] (median and range of 3 seeds)."]


def test_no_run_has_a_value(tmp_path):
    found = answer_of(tmp_path, grid(steps=60, seeds=1, answer="final(eval_loss)"), leaves)
    assert found.state == "nothing"
    assert found.sentences == ["No answer: no run has a value of final(eval_loss)."]


def test_the_entry_begins_with_the_answer(tmp_path):
    asked = grid(steps=500, seeds=3, answer="leaves(log(10))")
    store, record = fill(tmp_path / "lab", asked, leaves)
    entry = write_entry(store, record)
    text = (entry.folder / "entry.md").read_text()
    assert text.index("**Step at which the training loss leaves log 10: reached by 15") < 300
    page = entry.page.read_text()
    assert page.index("reached by 15 of 18 runs") < page.index("<h2>Result</h2>")


def test_a_known_experiment_takes_a_new_answer(tmp_path):
    asked = grid(steps=60, seeds=1)
    store, record = fill(tmp_path / "lab", asked, leaves)
    again = store.register(ablab.experiment(asked | {"answer": "best(loss)"}), "ablab run", {})
    assert again.id == record.id
    found = find(store, again, experiment_runs(store, again)).answer
    assert found.measure == "best(loss)"


@pytest.mark.parametrize("wrong", ["finial(loss)", 3, "final(loss"])
def test_an_answer_is_a_measure(wrong):
    with pytest.raises(InputError, match=r"answer|measure"):
        ablab.experiment(grid(answer=wrong))
