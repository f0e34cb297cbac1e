"""Readings by factor, of made-up evaluations."""

import numpy as np
import pytest

from ablab.read.by_factor import by_factor, factor_columns, factor_sentences
from ablab.store.compaction import compact
from ablab.store.metrics import (
    all_columns,
    experiment_metrics,
    experiment_runs,
    unwatched_columns,
)
from ablab.tasks.factors import factor_and_value
from tests.read.filled import fill

ASKED = {
    "name": "carries",
    "task": {"kind": "addition", "n_digits": 2, "target": 1},  # carry_into_1
    "model": {"kind": "bigram"},
    "train": {"steps": 300},
    "seeds": 3,
}
LEARNT = {"no": (100, 120, 200), "yes": (200, 180, None)}  # steps by seed; None: not learnt


def evaluations(learnt, every=20):
    """Accuracies of 0.2, then 0.95 from a step on; losses of 1 for no and 2 for yes."""

    def curve(keys, seed, steps):
        known = steps % every == 0
        found = {"train_loss": np.ones(len(steps))}
        for number, (value, firsts) in enumerate(learnt.items()):
            first = np.inf if firsts[seed] is None else firsts[seed]
            accuracy = np.where(steps >= first, 0.95, 0.2)
            found[f"eval_accuracy/carry_into_1.{value}"] = np.where(known, accuracy, np.nan)
            found[f"eval_loss/carry_into_1.{value}"] = np.where(known, number + 1.0, np.nan)
        return found

    return curve


def sentences(path, learnt, every=20):
    store, record = fill(path, ASKED, evaluations(learnt, every))
    runs = experiment_runs(store, record)
    return factor_sentences(by_factor(store, record, runs), runs)


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        ("eval_loss/cascade.3_or_more", ("eval_loss", "cascade", "3_or_more")),
        ("eval_accuracy/position.2-3", ("eval_accuracy", "position", "2-3")),
        ("eval_loss/length_32", None),  # another evaluation set
        ("eval_loss/digit_0", None),
        ("eval_offset/digit_0/3", None),
        ("eval_loss", None),
        ("activation/blocks.0.attn.pattern/mean_entropy", None),
    ],
)
def test_columns_of_factors(column, parts):
    assert factor_and_value(column) == parts
    assert (unwatched_columns([column]) == []) == (parts is not None or "activation" in column)


def test_values_are_in_the_order_of_the_task():
    columns = [f"eval_loss/f.{value}" for value in ("b", "a", "new")] + [
        "eval_loss",
        "eval_loss/g.x",
    ]
    (first, second) = factor_columns(columns, {"f": ("a", "b")})
    assert list(first.columns.items()) == [
        ("a", "eval_loss/f.a"), ("b", "eval_loss/f.b"), ("new", "eval_loss/f.new"),
    ]  # fmt: skip
    assert (second.factor, second.measure) == ("g", "eval_loss")


def test_a_value_that_a_seed_has_not_learnt_is_counted(tmp_path):
    # The medians of no are of 100, 120 and 200; two of three seeds learn yes.
    (found,) = sentences(tmp_path, LEARNT).values()
    assert found == [
        "by carry_into_1, the held-out accuracy reaches 90%: no at step 120 "
        "(median of 3 seeds); yes in 2 of 3 seeds"
    ]


def test_values_in_the_order_in_which_they_are_learnt(tmp_path):
    (found,) = sentences(tmp_path, {"no": (300, 280, 200), "yes": (100, 180, 100)}).values()
    assert found == [
        "by carry_into_1, the held-out accuracy reaches 90%: yes at step 100, no at step 280 "
        "(median of 3 seeds)"
    ]


def test_values_that_are_learnt_together_or_not_at_all(tmp_path):
    (found,) = sentences(tmp_path / "a", {"no": (40,) * 3, "yes": (40,) * 3}).values()
    assert "90%: all values at step 40 (median" in found[0]
    (found,) = sentences(tmp_path / "b", {"no": (40,) * 3, "yes": (None,) * 3}).values()
    assert "90%: no at step 40 (median of 3 seeds); yes not by step 300" in found[0]


def test_a_single_high_evaluation_is_not_yet_learnt(tmp_path):
    """A value with few samples reaches 90% by chance."""

    def curve(keys, seed, steps):
        found = evaluations({"no": (200,) * 3, "yes": (300,) * 3})(keys, seed, steps)
        for value in ("no", "yes"):
            found[f"eval_accuracy/carry_into_1.{value}"][np.isin(steps, [60, 120, 140])] = 0.95
        return found

    store, record = fill(tmp_path, ASKED, curve)
    runs = experiment_runs(store, record)
    (found,) = factor_sentences(by_factor(store, record, runs), runs).values()
    # yes reaches it at the last evaluation, with none left to contradict.
    assert "90%: no at step 200, yes at step 300 (median of 3 seeds)" in found[0]


def test_final_losses_where_no_value_is_learnt_or_evaluations_are_few(tmp_path):
    expected = ["by carry_into_1, the final held-out loss is 1 (no), 2 (yes) (median of 3 seeds)"]
    (found,) = sentences(tmp_path / "a", {"no": (None,) * 3, "yes": (None,) * 3}).values()
    assert found == expected
    # 6 evaluations are too few to say what is learnt first.
    (found,) = sentences(tmp_path / "b", LEARNT, every=50).values()
    assert found == expected


def test_directions_and_measures_are_those_of_the_whole(tmp_path):
    from ablab.read.directions import column_direction
    from ablab.read.measures import measure_table

    store, record = fill(tmp_path, ASKED, evaluations(LEARNT))
    assert column_direction(record, "eval_accuracy/carry_into_1.no") == "higher"
    assert column_direction(record, "eval_loss/carry_into_1.no") == "lower"
    found = measure_table(store, record, "steps_to(eval_accuracy/carry_into_1.yes, 0.9)")
    assert found["value"].to_list() == [200.0, 180.0, None]
    assert found["not_before"].to_list() == [None, None, 300]


def test_many_runs_are_read_in_shares(tmp_path, monkeypatch):
    store, record = fill(tmp_path, ASKED, evaluations(LEARNT))
    runs = experiment_runs(store, record)
    whole = by_factor(store, record, runs)
    monkeypatch.setattr("ablab.read.by_factor._ROWS", 600)  # two of the three runs
    shares = by_factor(store, record, runs)
    assert shares.factors == whole.factors
    assert shares.frame.sort("run", "step").equals(whole.frame.sort("run", "step"))
    assert whole.frame.height == 3 * 15


def test_columns_of_other_experiments_in_the_same_part_are_left_out(tmp_path, monkeypatch):
    def other(keys, seed, steps):
        more = ("eval_accuracy/word.start", "eval_loss/word.start", "eval_sequence_accuracy")
        return {"train_loss": 1 / steps} | dict.fromkeys(more, 2 / steps)

    store, record = fill(tmp_path, ASKED, evaluations(LEARNT))
    before = by_factor(store, record, experiment_runs(store, record)).factors
    fill(tmp_path, ASKED | {"name": "other", "task": {"kind": "copy"}}, other)
    monkeypatch.setattr("ablab.store.compaction._SMALL_PARTS", 1)
    assert compact(store) == 2
    assert by_factor(store, record, experiment_runs(store, record)).factors == before
    assert "eval_sequence_accuracy" not in experiment_metrics(store, record, all_columns).columns


@pytest.mark.parametrize("task", [ASKED["task"], {"kind": "addition"}], ids=["unmeasured", "none"])
def test_nothing_is_said_without_columns(tmp_path, task):
    asked = ASKED | {"task": task}
    store, record = fill(tmp_path, asked, lambda keys, seed, steps: 1 / steps)
    runs = experiment_runs(store, record)
    found = by_factor(store, record, runs)
    assert found.factors == []
    assert factor_sentences(found, runs) == {}


def test_runs_that_diverged_are_left_out(tmp_path):
    whole = evaluations({"no": (100, 120, 200), "yes": (200, 180, 180)})

    def curve(keys, seed, steps):
        return None if seed == 2 else whole(keys, seed, steps)

    store, record = fill(tmp_path / "lab", ASKED, curve)
    runs = experiment_runs(store, record)
    (told,) = factor_sentences(by_factor(store, record, runs), runs).values()
    assert any("no at step 110, yes at step 190 (median of 2 seeds)" in each for each in told)
