"""Analyses declare the ranges and directions of their scalars, and intervals stay within them."""

import json
from math import inf, nan

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

import ablab
from ablab.analysis.analysis import COSINE, SHARE, Analysis, NoSettings, all_analyses, analysis
from ablab.analysis.finding import Finding
from ablab.analysis.request import Request
from ablab.experiments.measures import parse_measure
from ablab.read.directions import column_direction, measure_range
from ablab.read.effects.stored import experiment_effects
from ablab.read.verdicts import verdicts
from ablab.store.findings import StoredFinding, record_analyses, save_findings
from ablab.store.scalar_records import ScalarRecord, ScalarRecords
from ablab.tasks.addition import Addition
from ablab.tasks.modular import Modular
from tests.analysis.planted.digits import digit_adder
from tests.analysis.planted.modular import modular_adder, untrained_adder
from tests.analysis.test_analyze import ASKED
from tests.read.filled import fill

COSINES = {8: (0.2, 0.9, 0.95, 0.99), 16: (-0.1, 0.2, 0.15, 0.3)}
COLUMN = "analysis/mine/cosine"
FREE = ("largest", "change_without_neurons", "interactions")
"""Changes, which have either sign, and estimates that can leave their range."""


@analysis(
    "mine",
    question="How alike are they?",
    inputs=["model"],
    cost="nothing",
    limits={"cosine": COSINE},
    directions={"cosine": "higher"},
)
def mine(subject, settings):
    return Finding({"cosine": 1.0})


@pytest.fixture(scope="module")
def planted():
    adder, digits = modular_adder(29), digit_adder(1)
    untrained, task = untrained_adder(29)
    return [
        (adder.model, Modular(adder.task)),
        (untrained, Modular(task)),
        (digits.model, Addition(digits.task)),
    ]


@pytest.mark.parametrize("each", all_analyses(), ids=lambda each: each.name)
def test_every_scalar_has_a_range_that_it_keeps(each, planted):
    declared = ScalarRecords({each.name: ScalarRecord(limits=dict(each.limits))})
    seen = 0
    for model, task in planted:
        found = ablab.analyze(model, each.name, task=task).scalars
        for name, value in found.select("name", "value").iter_rows():
            ends = declared.limits_of(name)
            what = name.removeprefix(f"analysis/{each.name}/").rpartition("/")[2]
            if not what.startswith(FREE):
                assert ends is not None, name
            if ends is not None and value is not None:
                low, high = ends
                assert low is None or low <= value, (name, value)
                assert high is None or value <= high, (name, value)
                seen += 1
    assert seen


def stored(path, recorded):
    """A store whose runs have the cosines above, with or without what ``mine`` declares."""
    asked = {
        "name": "made-up",
        "question": "Does it?",
        "task": {"kind": "addition"},
        "train": {"steps": 20},
        "grid": {"model.d_model": list(COSINES)},
        "seeds": 4,
        "expect": [f"final({COLUMN}) is above -0.5 where model.d_model=8"],
    }
    store, record = fill(path, asked, lambda keys, seed, steps: np.ones(len(steps)))
    save_findings(
        store,
        [
            StoredFinding(run.run, 20, "mine", "0123456789ab", {"cosine": cosine})
            for run in store.runs(record)
            for cosine in [COSINES[run.variant["model.d_model"]][run.seed]]
        ],
    )
    if recorded:
        record_analyses(store, {"mine": Request(mine, mine.settings()).about})
    return store, store.refresh(record)


def test_an_interval_of_cosines_stays_below_one(tmp_path):
    store, record = stored(tmp_path / "declared", recorded=True)
    (verdict,) = verdicts(store, record)
    assert verdict.outcome == "held" and verdict.estimand == "median"
    values = np.array(COSINES[8])
    logits = logit((values + 1) / 2)
    ends = stats.t.interval(0.95, 3, logits.mean(), stats.sem(logits))
    np.testing.assert_allclose(verdict.interval, 2 * expit(ends) - 1)
    assert verdict.interval[1] < 1
    effects = experiment_effects(store, record, measure=f"final({COLUMN})")
    (difference,) = effects.marginal
    assert -2 <= difference.interval[0] < difference.interval[1] < 0
    plain, undeclared = stored(tmp_path / "undeclared", recorded=False)
    (before,) = verdicts(plain, undeclared)
    logs = np.log(values)  # skewed
    expected = np.exp(stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs)))
    np.testing.assert_allclose(before.interval, expected)
    assert before.interval[1] > 2


def test_reading_takes_what_was_recorded(tmp_path):
    _, record = stored(tmp_path / "lab", recorded=True)
    assert measure_range(record, parse_measure(f"final({COLUMN})")) == (-1, 1)
    assert measure_range(record, parse_measure(f"highest({COLUMN})")) == (-1, 1)
    assert measure_range(record, parse_measure("final(analysis/mine/other)")) is None
    assert measure_range(record, parse_measure("final(analysis/others/cosine)")) is None
    assert measure_range(record, parse_measure("final(train_loss)")) == (0, inf)
    assert column_direction(record, COLUMN) == "higher"
    assert column_direction(record, "analysis/mine/other") is None


def test_ranges_are_recorded_with_findings_new_or_old(tmp_path):
    asked = ASKED | {"analyze": ["parameter_norms"], "seeds": 1}
    made = ablab.run(asked, store=tmp_path / "lab", compile="off", quiet=True)
    norm = parse_measure("final(analysis/parameter_norms/embedding.weight/rms)")
    assert measure_range(made.record, norm) == (0, inf)
    record_analyses(made.store, {"parameter_norms": {}})  # as an earlier release did
    assert measure_range(made.store.refresh(made.record), norm) is None
    ablab.analyze(made, "parameter_norms")
    assert measure_range(made.store.refresh(made.record), norm) == (0, inf)


def test_the_first_pattern_counts_and_an_end_can_be_open():
    own = ScalarRecord(
        limits={"*_p": (0, 1), "digit_0/*": (None, 1), "*": (0, None)}, directions={"loss": "lower"}
    )
    found = ScalarRecords({"mine:rows:2": own})
    assert found.limits_of("analysis/mine:rows:2/digit_0/cosine_p") == (0, 1)
    assert found.limits_of("analysis/mine:rows:2/digit_0/explained") == (None, 1)
    assert found.limits_of("analysis/mine:rows:2/loss") == (0, None)
    assert found.direction_of("analysis/mine:rows:2/loss") == "lower"
    assert found.limits_of("eval_loss") is None and found.direction_of("eval_loss") is None


@pytest.mark.parametrize(
    ("value", "kept"), [(1 + 1e-12, 1.0), (-1e-12, 0.0), (1e-12, 1e-12), (1.1, 1.1), (None, None)]
)
def test_rounding_does_not_leave_the_range(value, kept):
    own = Analysis(
        "own", "", (), "", NoSettings, lambda *_: Finding({"a": value}), limits={"a": SHARE}
    )
    assert own.finding(None, None).scalars == {"a": kept}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"limits": {"share": (1.0, 0.0)}}, "range of share of the analysis mine ends at 0, "),
        ({"limits": {"share": (inf, None)}}, "limits.share of the analysis mine: .*finite"),
        ({"limits": {"share": (None, -inf)}}, "limits.share of the analysis mine: .*finite"),
        ({"limits": {"share": (nan, 1)}}, "limits.share of the analysis mine: .*finite"),
        ({"limits": {"share": (0,)}}, "limits.share of the analysis mine: "),
        ({"limits": {"share": 1}}, "limits.share of the analysis mine: .*tuple"),
        ({"limits": {"share": ("low", 1)}}, "limits.share of the analysis mine: .*number"),
        ({"directions": {"loss": "lowr"}}, "directions.loss of the analysis mine: .*'lower'"),
    ],
)
def test_what_is_declared_is_checked_at_once(declared, said):
    with pytest.raises(ValueError, match=said):
        analysis("mine", question="", inputs=[], cost="", **declared)


def test_an_infinite_end_is_none():
    limits = {"a": (0, inf), "b": (-inf, inf), "c": np.array([0.5, np.inf])}
    own = analysis("own", question="", inputs=["model"], cost="", limits=limits)(mine.examine)
    assert own.limits == {"a": (0, None), "b": (None, None), "c": (0.5, None)}
    recorded = json.loads(json.dumps(Request(own, own.settings()).about))
    assert ScalarRecord.model_validate(recorded).limits == own.limits


def test_a_damaged_record_takes_only_its_own_ranges(tmp_path):
    store, record = stored(tmp_path / "lab", recorded=True)
    damaged = Request(mine, mine.settings()).about | {"directions": {"cosine": "highr"}}
    record_analyses(store, {"theirs": damaged})
    said = "the record of the analysis 'theirs' is damaged"
    with pytest.warns(UserWarning, match=said):
        found = store.refresh(record)
    with pytest.warns(UserWarning, match=said):
        assert store.experiment(record.name).id == record.id
    with pytest.warns(UserWarning, match=said):
        assert len(store.experiments()) == 1
    assert measure_range(found, parse_measure(f"final({COLUMN})")) == (-1, 1)
    assert measure_range(found, parse_measure("final(analysis/theirs/cosine)")) is None
