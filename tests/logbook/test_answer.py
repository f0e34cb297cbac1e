"""The answer to the question in the heading, on made-up curves whose answer is known."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.logbook.conclusions import find
from ablab.logbook.entry import write_entry
from ablab.logbook.ranking import Ranking
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


@pytest.mark.parametrize("heads", [[4], [1, 4]])
def test_counts_over_cells_have_no_interval(tmp_path, heads):
    """Seeds can fail in all cells together; the interval of counts is that of independent runs."""

    def curve(keys, seed, steps):
        at = 10**6 if keys["model.d_model"] == 8 else 100
        return leaving(np.random.default_rng(seed), steps, at)

    asked = grid(steps=500, seeds=5, answer="leaves(log(10))")
    asked["grid"] = {"model.d_model": [8, 32], "model.n_heads": heads}
    said = " ".join(answer_of(tmp_path, asked, curve).sentences)
    cells = len(heads)
    assert f"0 of {5 * cells} vs {5 * cells} of {5 * cells} runs reached it" in said
    assert ("percentage points" in said) is (cells == 1)


def test_the_question_names_its_measure(tmp_path):
    found = answer_of(tmp_path, grid(steps=500, seeds=3, answer="final(loss)"), leaves)
    assert found.measure == "final(loss)"
    assert found.declared
    # At width 32: log 10 e^(-0.02 * 425) + 1e-4 at the end, and the same for one head and four.
    assert re.match(
        r"Final training loss: medians from [56](\.\d)?e-4 to 2\.3 over 6 variants\. Not decided "
        "which is lowest: 2 of 6 variants are not told apart: “d_model 32, 1 head” and "
        "“d_model 32, 4 heads”; the ratio of “d_model 32, 4 heads” to the first averages",
        found.sentences[0],
    )


@pytest.mark.parametrize(
    ("others", "told"),
    [("bcd", "4 of 9 variants are not told apart: a, b, c and d; the difference of b from the fi"),
     ("bcde", "5 of 9 variants are not told apart, among them a; the difference of b from it av")],
)  # fmt: skip
def test_up_to_four_variants_that_are_not_told_apart_are_named(others, told):
    undecided = [
        SimpleNamespace(
            value=name,
            difference=0.1,
            interval=None,
            scale="difference",
            p=0.5,
            deviation=None,
            ranked=False,
        )
        for name in others
    ]
    found = Ranking(SimpleNamespace(name="a"), 8, undecided)
    assert found.open_words("lowest").startswith(f"Not decided which is lowest: {told}")


def two(difference):
    """Two variants with a final loss around 1 and 1 + difference, which seeds change by 0.1."""

    def curve(keys, seed, steps):
        noise = np.random.default_rng([seed, keys["model.n_heads"]]).standard_normal()
        return 1 + difference * (keys["model.n_heads"] == 4) + 0.1 * noise + 0 * steps

    asked = grid(steps=60, seeds=6, answer="final(loss)")
    asked["grid"] = {"model.n_heads": [1, 4]}
    return asked, curve


def test_nothing_is_ranked_that_is_not_decided(tmp_path):
    found = answer_of(tmp_path, *two(0.02))
    said = found.sentences[0]
    assert found.state == "open"
    assert not found.ranking.is_decided
    assert "lowest with" not in said and "highest with" not in said
    assert said.startswith("Final training loss: ")
    assert " (median and range of 6 seeds). Not decided which is lower: the " in said
    numbers = re.search(
        r"difference of \d heads? from \d heads? averages (.+) \[(.+), (.+)\] over", said
    )
    _, low, high = map(float, numbers.groups())
    assert low < 0 < high
    assert re.search(r"; about \d+ seeds would show one of this size\.$", said)
    assert len(found.sentences) == 1  # and nothing is said twice


def test_what_is_decided_is_ranked(tmp_path):
    found = answer_of(tmp_path, *two(2.0))
    assert found.ranking.is_decided
    assert found.sentences[0].startswith("Final training loss: lowest with 1 head, ")
    other = r"; the difference from the other is decided, whose median is (2\.9\d*|3|3\.\d*)\."
    assert re.search(other, found.sentences[0])


def test_of_several_variants_the_best_must_differ_from_each_other(tmp_path):
    """Six variants, of which two have the least loss, 1, and the others 2."""

    def curve(keys, seed, steps):
        noise = np.random.default_rng([seed, *keys.values()]).standard_normal()
        return 1 + (keys["model.d_model"] != 32) + 0.05 * noise + 0 * steps

    found = answer_of(tmp_path, grid(steps=60, seeds=6, answer="final(loss)"), curve)
    assert [each.key for each in found.ranking.undecided] == ["variant"]
    said = found.sentences[0]
    assert re.match(
        r"Final training loss: medians from (1|0\.9\d*) to 2\.?\d* over 6 variants\.", said
    )
    assert re.search(r": 2 of 6 variants are not told apart: “d_model 32, .+” and “d_model 3", said)
    assert re.search(r"; the difference of “d_model 32, \d heads?” from the first averages", said)
    assert " after correction for the choice of the best of 6" in said


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
    found = answer_of(tmp_path, asked, lambda keys, seed, steps: 1 + seed / 10 + 0 * steps)
    assert found.sentences == ["Final training loss: 1.1 [1, 1.2] (median and range of 3 seeds)."]
    # The third of 1, 2 and 3 is above the loss of guessing, log 10, and did not learn.
    found = answer_of(tmp_path / "two", asked, lambda keys, seed, steps: 1 + seed + 0 * steps)
    assert found.sentences == [
        "Final training loss: 2 of 3 runs learnt (below 2.15), with 1.5 [1, 2]."
    ]


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


def test_a_verdict_that_the_correction_undoes_says_so_in_the_first_sentence(tmp_path):
    """One difference that is clear alone, and nineteen bounds at the mean, which are not."""
    asked, curve = two(0.08)
    noise = [np.random.default_rng([seed, 4]).standard_normal() for seed in range(8)]
    mean = 1 + 0.08 + 0.1 * np.mean(noise)
    cell = "where model.n_heads=1 than where model.n_heads=4"
    asked |= {"seeds": 8, "expect": [f"final(loss) is lower {cell}"]}
    asked["expect"] += [
        f"best(loss) is below {mean + n * 1e-6} where model.n_heads=4" for n in range(19)
    ]
    store, record = fill(tmp_path / "lab", asked, curve)
    found = find(store, record, experiment_runs(store, record))
    first = found.verdicts[0]
    assert first.outcome == "held" and 0.05 > first.p > 0.05 / 20
    said = found.answer.sentences[0]
    assert re.match(
        r"Held by itself \(p = 0\.0\d+\), but not after correction for all 20 tests "
        r"\(p = 0\.\d+\): final\(loss\) is lower",
        said,
    )
    assert f"(p = {20 * first.p:.2g}): " in said  # Holm's correction of the lowest of 20


def test_a_sweep_is_answered_by_its_best_value(tmp_path):
    """The best of eight rates is the fourth, in all seeds; the lowest and the highest are alike."""
    rates = [float(f"{10 ** (-4 + each * 0.5):.4g}") for each in range(8)]

    def curve(keys, seed, steps):
        away = abs(rates.index(keys["train.lr"]) - 3)
        end = 0.5 + 0.2 * away + 0.01 * (seed % 3)
        return 2.5 + (end - 2.5) * steps / steps[-1]

    asked = grid(steps=40, seeds=3, answer="final(train_loss)") | {"grid": {"train.lr": rates}}
    (sentence, *_) = answer_of(tmp_path, asked, curve).sentences
    assert sentence.startswith(
        "Final training loss is lowest at lr=0.00316 in each seed, of 8 values from 0.0001 to "
    )
    assert sentence.endswith(" over 8 variants.")
    assert "not told apart" not in sentence


def test_an_average_over_opposite_signs_says_on_what_it_depends(tmp_path):
    """Four heads lower the loss by 1.2 at width 8, and raise it by 0.2 at 32."""

    def curve(keys, seed, steps):
        size = {8: -1.2, 16: -0.5, 32: 0.2}[keys["model.d_model"]]
        end = 2.0 + (size if keys["model.n_heads"] == 4 else 0.0)
        draws = np.random.default_rng([seed, keys["model.d_model"], keys["model.n_heads"]])
        end += 0.01 * draws.standard_normal()
        return 3.0 + (end - 3.0) * steps / steps[-1]

    asked = grid(steps=40, seeds=5, answer="final(train_loss)")
    found = answer_of(tmp_path, asked, curve)
    (said,) = [each for each in found.sentences if each.startswith("1 head vs 4 heads")]
    assert said.endswith("; how much, or which way, depends on d_model.")


def test_a_setting_of_which_nothing_is_decided_is_named(tmp_path):
    """The width decides the loss, beside noise of 0.1; the number of heads does nothing."""

    def curve(keys, seed, steps):
        draws = np.random.default_rng([seed, keys["model.d_model"], keys["model.n_heads"]])
        end = 2.0 - np.log2(keys["model.d_model"]) / 4 + 0.1 * draws.standard_normal()
        return 3.0 + (end - 3.0) * steps / steps[-1]

    asked = grid(steps=40, seeds=5, answer="final(train_loss)")
    said = " ".join(answer_of(tmp_path, asked, curve).sentences)
    assert "d_model" in said.partition("Not decided: ")[0]
    assert said.endswith("Not decided: whether n_heads makes a difference.")


@pytest.mark.parametrize(
    ("columns", "measure", "told"),
    [
        (("train_loss", "eval_loss"), "final(eval_loss)", "Final held-out loss: 0.5"),
        (("train_loss",), "final(train_loss)", "Final training loss: 0.25"),
    ],
)
def test_without_a_grid_the_values_have_the_name_of_their_measure(tmp_path, columns, measure, told):
    values = {"train_loss": 0.25, "eval_loss": 0.5}
    asked = {"name": "alone", "task": {"kind": "copy"}, "train": {"steps": 20}, "seeds": 1}
    found = answer_of(
        tmp_path, asked, lambda keys, seed, steps: {n: np.full(20, values[n]) for n in columns}
    )
    assert found.measure == measure
    assert found.sentences[0].startswith(told)


def test_a_claim_about_a_setting_that_does_not_vary_here_does_not_lead(tmp_path):
    asked, curve = two(0.5)
    claims = ["final(loss) falls with model.d_model", "final(loss) rises with model.n_heads"]
    found = answer_of(tmp_path, asked | {"expect": claims}, curve)
    assert found.state == "answered"
    assert found.sentences[0].startswith("Held: final(loss) rises with model.n_heads (")
    assert found.sentences[2].startswith("Not tested: final(loss) falls with model.d_model (")
    alone = answer_of(tmp_path / "alone", asked | {"expect": claims[:1]}, curve)
    assert alone.state == "answered"
    assert alone.sentences[0].startswith("Final training loss: lowest with 1 head")
    assert alone.sentences[-2].startswith("Not tested: ")


def test_a_best_rate_for_each_width_is_an_answer(tmp_path):
    rates = [0.0001 * 10 ** (place / 2) for place in range(8)]
    best = {8: 2, 32: 6}

    def curve(keys, seed, steps):
        away = rates.index(keys["train.lr"]) - best[keys["model.d_model"]]
        end = 0.5 + 0.2 * abs(away) + 0.01 * np.random.default_rng([seed, away + 9]).normal()
        return 2.5 + (end - 2.5) * steps / steps[-1]

    asked = grid(steps=40, seeds=5, answer="final(train_loss)")
    found = answer_of(
        tmp_path, asked | {"grid": {"train.lr": rates, "model.d_model": [8, 32]}}, curve
    )
    assert found.state == "answered"
    assert re.match(
        r"Final training loss is lowest at lr=0\.001 with d_model 8: .*; at lr=0\.1 with d_model "
        r"32: ",
        found.sentences[0],
    )
    assert not any("Not yet decided" in each for each in found.sentences)
