"""A key that does not vary in some cells, and that has null as one of its values."""

import numpy as np
import polars as pl
import pytest

import ablab
from ablab.analysis.chosen import stored_runs
from ablab.analysis.figures import Curves
from ablab.analysis.summary import summarise
from ablab.experiments.cell_text import in_cell, parse_cell
from ablab.experiments.expectations import parse_expectation
from ablab.experiments.inactive import labelled, nullable_keys
from ablab.experiments.measures import parse_measure
from ablab.logbook.entry import write_entry
from ablab.logbook.finding_figures import draw
from ablab.read import not_reached, two_groups
from ablab.read.bands import bands
from ablab.read.comparisons import compare
from ablab.read.hypothesis_tests import Sample
from ablab.read.quantity import Quantity
from ablab.read.two_groups import Groups
from ablab.read.verdicts import judge, verdicts
from ablab.store.expected import Stamped
from ablab.store.metrics import experiment_metrics, key_column
from ablab.store.store import Store
from ablab.store.stored_run import StoredRun
from tests.read.filled import fill


def test_an_inactive_key_is_told_from_null(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ablab.experiment(
        tiny | {"train": tiny["train"] | {"steps": 2, "clip_norm": 1.0}, "grid": {}, "seeds": 2},
        grid={
            "train.optimizer": ["adamw", "sgd"],
            "train.clip_norm": [None, 0.5],
            "when": {"train.clip_norm": {"train.optimizer": "sgd"}},
        },
    )
    ablab.run(asked, store="lab", quiet=True, device="cpu")
    store = Store("lab")
    record = store.experiment("tiny")
    runs = store.runs(record)
    assert len(runs) == 6
    for run in runs:
        again = StoredRun(store, run).run
        clip = {"inactive": 1.0, None: None, 0.5: 0.5}[run.variant["train.clip_norm"]]
        assert again.train.clip_norm == clip
    for cell, optimizer in (("inactive", "adamw"), ("null", "sgd"), ("0.5", "sgd")):
        found = stored_runs(store, "tiny", f"train.clip_norm={cell}")
        assert [each.record.variant["train.optimizer"] for each in found] == [optimizer] * 2
    frame = ablab.open("lab").measure("tiny", "final(train_loss)")
    assert frame["train.clip_norm"].to_list() == ["inactive"] * 2 + [None] * 2 + ["0.5"] * 2
    sample = Sample(frame, ["train.optimizer", "train.clip_norm"])
    for value, optimizer in (("inactive", "adamw"), (None, "sgd"), (0.5, "sgd")):
        found = sample.where({"train.clip_norm": value})
        assert found.frame["train.optimizer"].to_list() == [optimizer] * 2


def test_in_a_column_of_numbers_null_is_inactive():
    frame = pl.DataFrame({"train.momentum": [None, 0.0, 0.9], "value": [1.0, 2.0, 3.0]})
    found = Sample(frame, ["train.momentum"]).where({"train.momentum": "inactive"})
    assert found.frame["value"].to_list() == [1.0]
    assert in_cell([{"a": "inactive"}, {"a": 0.9}, {}], {"a": "inactive"}) == [True, False, False]


def test_null_that_is_a_value_is_not_inactive():
    assert in_cell([{"a": None}, {"a": 0.5}], {"a": "inactive"}) == [False, False]
    frame = pl.DataFrame({"train.clip_norm": [None, 0.5], "value": [1.0, 2.0]})
    found = Sample(frame, ["train.clip_norm"], {"train.clip_norm"})
    said = found.where({"train.clip_norm": "inactive"})
    assert said == "this grid has no train.clip_norm=inactive, only None, 0.5"


def test_null_is_a_value_if_it_is_in_the_grid():
    grid = {"a": [None, 1], "b": [1], "c": {"x": {}, "null": {}}}
    assert nullable_keys(grid) == {"a", "c"}
    found = labelled(dict.fromkeys(grid), nullable_keys(grid))
    assert found == {"a": None, "b": "inactive", "c": None}
    assert labelled({"b": None}, None) == {"b": None}
    assert key_column([found["b"], 1.0]).to_list() == [None, 1.0]
    assert key_column([found["b"], "x", "inactive"]).to_list() == [None, "x", "inactive"]


def test_a_trend_is_over_the_cells_in_which_the_key_varies(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ablab.experiment(
        tiny | {"train": tiny["train"] | {"steps": 2}, "grid": {}, "seeds": 3},
        grid={
            "train.optimizer": ["adamw", "sgd"],
            "train.momentum": [0.0, 0.5, 0.9],
            "when": {"train.momentum": {"train.optimizer": "sgd"}},
        },
        expect=["final(train_loss) falls with train.momentum"],
    )
    ablab.run(asked, store="lab", quiet=True, device="cpu")
    (verdict,) = ablab.open("lab").verdicts("tiny")
    assert " at 0.0, " in verdict.evidence
    assert "None" not in verdict.evidence
    assert "inactive" not in verdict.evidence
    frame = ablab.open("lab").measure("tiny", "final(train_loss)")
    labels, table = Sample(frame, ["train.optimizer", "train.momentum"]).by("train.momentum")
    assert labels == [0.0, 0.5, 0.9]
    there = frame.filter(pl.col("train.optimizer") == "sgd")["value"].to_list()
    assert table.ravel().tolist() == there


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """Runs of AdamW, and of SGD with two momenta, at two learning rates."""
    folder = tmp_path_factory.mktemp("conditional")
    asked = ablab.experiment(
        {
            "name": "conditional",
            "task": {"kind": "addition", "n_digits": 1},
            "model": {"d_model": 8, "n_heads": 2},
            "train": {"steps": 2, "batch_size": 8, "evaluate": {"samples": 8}},
            "seeds": 3,
        },
        grid={
            "train.lr": [0.01, 0.02],
            "train.optimizer": ["adamw", "sgd"],
            "train.momentum": [0, 0.9],
            "when": {"train.momentum": {"train.optimizer": "sgd"}},
        },
    )
    ablab.run(asked, store=folder / "lab", quiet=True, device="cpu")
    return Store(folder / "lab")


def test_a_key_that_does_not_vary_is_shown_as_inactive(conditional):
    record = conditional.experiment("conditional")
    runs = conditional.runs(record)
    assert [run.variant["train.momentum"] for run in runs[::3]] == ["inactive", 0, 0.9] * 2
    opened = ablab.open(conditional.path)
    effects = opened.effects("conditional", of="train.optimizer")
    curves = [band.label for band in bands_of(conditional, record)]
    shown = [repr(opened.runs()), repr(opened.readings("conditional")), *curves]
    shown += [repr(effects), write_entry(conditional, record).page.read_text()]
    for text in shown:
        assert "momentum=None" not in text
        assert "momentum none" not in text
    assert "momentum inactive" in shown[-1]
    assert curves[0].endswith("train.optimizer=adamw, train.momentum=inactive")
    frame = opened.measure("conditional", "final(train_loss)")
    assert frame["train.momentum"].to_list()[::3] == [None, 0, 0.9] * 2
    metrics = opened.metrics("conditional")
    assert set(metrics["train.momentum"].to_list()) == {None, 0, 0.9}


def test_analyses_name_variants_in_which_a_key_does_not_vary(conditional):
    found = ablab.analyze("conditional", "parameter_norms", steps="last", store=conditional)
    ends = ("adamw, momentum inactive", "sgd, momentum 0", "sgd, momentum 0.9")
    names = [f"lr {lr}, optimizer {end}" for lr in (0.01, 0.02) for end in ends]
    rows, _ = summarise(found)
    assert list(dict.fromkeys(row.variant for row in rows)) == names
    norms = Curves("norms", "Norms", {rows[0].name: "norm"}, "norm")
    panels = draw(found, norms).figure.axes
    titles = [axes.get_title("left").replace("\n", " ") for axes in panels]  # which are wrapped
    assert titles == names[: len(panels)]
    page = write_entry(conditional, conditional.experiment("conditional")).page.read_text()
    assert "momentum none" not in page


def bands_of(store, record):
    keys = list(record.definition["grid"])
    metrics = experiment_metrics(store, record)
    return bands(metrics, keys, "train_loss", nullable=nullable_keys(record.definition["grid"]))


def verdict(store, sentence):
    record = store.experiment("conditional")
    stamp = Stamped(parse_expectation(sentence), "2026-01-01", 0, 9)
    return judge(store, record, stamp)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            "train.momentum=inactive", "train.momentum=0",
            "train.optimizer differs as well (adamw vs sgd)",
        ),
        (
            "train.optimizer=adamw", "train.optimizer=sgd",
            "train.momentum does not vary on one side, and the other is averaged over it",
        ),
    ],
)  # fmt: skip
def test_runs_are_compared_with_those_in_which_a_key_does_not_vary(conditional, one, other, said):
    found = verdict(conditional, f"final(train_loss) is lower where {one} than where {other}")
    assert found.evidence.endswith(said)
    values = {side: [] for side in (one, other)}
    for side, own in values.items():
        ((key, label),) = parse_cell(side).items()
        frame = ablab.open(conditional.path).measure("conditional", "final(train_loss)")
        wanted = None if label == "inactive" else label
        there = frame.filter(pl.col(key).eq_missing(pl.lit(wanted)))
        own += there.group_by("seed").agg(pl.col("value").mean()).sort("seed")["value"].to_list()
    apart = [a - b for a, b in zip(*values.values(), strict=True)]
    assert found.estimand == "difference"
    assert found.value == pytest.approx(sum(apart) / len(apart))


def test_sides_whose_variants_have_nothing_in_common_are_told():
    rows = [(1, "a", 1, 0, 1.0), (1, "b", 2, 0, 1.5), (2, "a", 2, 0, 2.0), (2, "b", 1, 0, 2.5)]
    frame = pl.DataFrame(rows, ["side", "k", "m", "seed", "value"], orient="row").with_columns(
        not_before=pl.lit(None, pl.Float64), reason=pl.lit(None, pl.String)
    )
    keys = ["side", "k", "m"]
    sides = [Sample(frame, keys).where({"side": each}) for each in (1, 2)]
    expectation = parse_expectation("final(loss) is lower where side=1 than where side=2")
    found = compare(*sides, expectation, Quantity(), False)
    assert found.evidence.startswith("no variant of one side has the other settings of one")


def test_null_can_be_a_value_of_a_trend():
    frame = pl.DataFrame(
        {"train.clip_norm": [None, 1.0], "seed": [0, 0], "value": [1.0, 2.0]},
    )
    assert Sample(frame, ["train.clip_norm"], {"train.clip_norm"}).levels("train.clip_norm") == [
        None,
        1.0,
    ]
    said = Sample(frame, ["train.clip_norm"]).levels("train.clip_norm")
    assert said == "train.clip_norm has only one value"


def rank_verdicts(path, sentences, curve):
    """The verdicts on eight runs of AdamW, and eight of SGD with each of two momenta."""
    asked = {
        "name": "made-up",
        "task": {"kind": "addition"},
        "train": {"steps": 40},
        "grid": {
            "train.optimizer": ["adamw", "sgd"],
            "train.momentum": [0.0, 0.9],
            "when": {"train.momentum": {"train.optimizer": "sgd"}},
        },
        "seeds": 8,
        "expect": sentences,
    }
    return verdicts(*fill(path / "lab", asked, curve))


@pytest.mark.parametrize(
    ("measure", "counts"),
    [("final(loss)", "7 of 8 vs 0 of 16 runs learnt"), ("steps_to(loss, 0.1)", "by 7 of 8")],
)
def test_ranks_compare_runs_with_those_in_which_a_key_does_not_vary(tmp_path, measure, counts):
    def curve(keys, seed, steps):
        rng = np.random.default_rng([seed, len(str(keys))])
        learns = keys["train.optimizer"] == "adamw" and seed > 0
        level = np.where(learns & (steps > 10 + seed), 0.01, 2.0)
        return level * np.exp(0.05 * rng.standard_normal(len(steps)))

    (found,) = rank_verdicts(
        tmp_path,
        [f"{measure} is lower where train.optimizer=adamw than where train.optimizer=sgd"],
        curve,
    )
    assert found.outcome == "held", found.evidence
    assert counts in found.evidence
    assert found.p < 0.01
    said = "; train.momentum does not vary on one side, and the other is averaged over it"
    assert found.evidence.endswith(said)


@pytest.mark.parametrize("steps", [False, True])
def test_ranks_of_sides_whose_variants_have_nothing_in_common_give_no_p(steps):
    rows = [(side, "ab"[k], (k + side) % 2, seed, float(side + 1) + seed / 100)
            for side in (0, 1) for k in (0, 1) for seed in range(8)]  # fmt: skip
    frame = pl.DataFrame(rows, ["side", "k", "m", "seed", "value"], orient="row").with_columns(
        not_before=pl.lit(None, pl.Float64), reason=pl.lit(None, pl.String),
        status=pl.lit("finished"),
    )  # fmt: skip
    sides = [Sample(frame, ["side", "k", "m"]).where({"side": each}) for each in (0, 1)]
    sentence = "steps_to(loss, 0.1)" if steps else "final(loss)"
    expectation = parse_expectation(f"{sentence} is lower where side=0 than where side=1")
    found = (
        not_reached.compare(*sides, expectation, parse_measure(sentence), False)
        if steps
        else two_groups.compare(*sides, expectation, Groups(1.5, "lower"), False)
    )
    assert (found.outcome, found.p) == ("undecided", None)
    assert "nothing to compare" in found.evidence
    assert "no variant of one side has the other settings of one of the other" in found.evidence
