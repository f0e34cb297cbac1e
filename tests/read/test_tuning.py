"""How flat an optimum is, and whether it lies at the end of a range: values worked by hand."""

from dataclasses import dataclass, field

import pytest

from ablab.experiments.axes import SweepContext
from ablab.experiments.tree import Origins
from ablab.experiments.tuning import read_tuning
from ablab.read.quantity import Quantity
from ablab.read.tuning import _setting, as_good
from ablab.read.tuning_report import Cost, TunedSetting, TunedVariant, TuningReport


@dataclass(eq=False)
class Trial:
    values: list[float]
    settings: dict = field(default_factory=dict)


def good(*values, sign=1.0):
    """The places of trials that are as good as the first."""
    trials = [Trial(list(each)) for each in values]
    found = as_good(trials, trials[0], sign, Quantity())
    return None if found is None else [trials.index(each) for each in found]


# Of the first two, what neither trial nor seed explains is ±0.005 (variance 1e-4, standard error
# of a difference of means of two seeds 0.01), or ±0.0075 (2.25e-4 and 0.015).
WORSE = ((1.2, 1.3), (1.3, 1.4))


def test_a_trial_within_a_standard_error_is_as_good():
    assert good((1.0, 1.1), (0.99, 1.12), *WORSE) == [0, 1]  # 0.005 apart


def test_a_trial_beyond_a_standard_error_is_not():
    assert good((1.0, 1.1), (1.02, 1.14), *WORSE) == [0]  # 0.03 apart


def test_what_seeds_have_in_common_is_no_noise():
    """Seeds that differ by 0.5 for all trials do not blur a difference of 0.03."""
    assert good((1.0, 1.6), (1.02, 1.64), *((a, b + 0.5) for a, b in WORSE)) == [0]


def test_where_higher_values_are_better():
    up = [(-a, -b) for a, b in ((1.0, 1.1), (0.99, 1.12), *WORSE)]
    assert good(*up, sign=-1.0) == [0, 1]


def test_one_seed_has_no_noise_to_compare_with():
    assert good((1.0,), (1.1,), (1.2,)) is None
    assert good((1.0, 1.1)) is None


def report(*settings, selected=1.0, without_value=0, labels=("1", "2")):
    over = {"train.lr": "loguniform(1e-4, 1e-2)"}
    tuning = read_tuning({"over": over}, (), SweepContext("any", {}), Origins())
    variants = tuple(
        TunedVariant(
            {"model.n_heads": label}, (each,), selected, 1.5, 16, without_value, 3,
            Cost(320, 61.0), Cost(20, 4.0),
        )
        for each, label in zip(settings, labels, strict=False)
    )  # fmt: skip
    return TuningReport(tuning, "any.tuning", (1, 2), variants)


def test_the_table_has_a_row_for_each_variant():
    found = report(TunedSetting("train.lr", 3e-3, (1e-3, 5e-3)), TunedSetting("train.lr", None))
    header, rows = found.table()
    assert header == [
        "model.n_heads", "train.lr", "trials' seeds", "fresh seeds", "as good", "tuning", "report",
    ]  # fmt: skip
    assert rows == [
        ["1", "0.003 [0.001, 0.005]", "1", "1.5", "3 of 16", "320 run-steps, 1 min 01 s",
         "20 run-steps, 4.0 s"],
        ["2", "as given", "1", "1.5", "3 of 16", "320 run-steps, 1 min 01 s",
         "20 run-steps, 4.0 s"],
    ]  # fmt: skip
    assert found.cost == Cost(640, 122.0)


def test_variants_of_which_the_same_is_said_share_a_sentence():
    low = TunedSetting("train.lr", 1e-4, None, "low")
    said = report(low, low, without_value=2).sentences
    assert (
        "model.n_heads=1; model.n_heads=2: the best train.lr (0.0001) is the lowest that was "
        "tried, of loguniform(0.0001, 0.01): the range may be too narrow." in said
    )
    assert any("2 of 16 trials diverged or did not reach the measure" in each for each in said)
    assert said[-1] == (
        "Tuning took 640 run-steps, 2 min 02 s; the reported runs took 40 run-steps, 8.0 s."
    )


def test_a_best_value_at_an_end_is_said_unless_any_value_is_as_good():
    trials = [Trial([1.0], {"train.lr": rate}) for rate in (1e-4, 1e-3, 1e-2)]
    assert _setting("train.lr", 1e-4, trials, trials[:2]).end == "low"
    assert _setting("train.lr", 1e-4, trials, trials[:2]).as_good == (1e-4, 1e-3)
    assert _setting("train.lr", 1e-2, trials, None).end == "high"
    assert _setting("train.lr", 1e-3, trials, trials).end is None
    assert _setting("train.lr", 1e-4, trials, trials).end is None  # from end to end
    assert _setting("train.lr", 1e-4, trials[:2], None).end is None  # too few to tell


def test_data():
    found = report(TunedSetting("train.lr", 3e-3, (1e-3, 5e-3), "high")).as_data()
    (variant,) = found["variants"]
    assert found["cost"] == {"run_steps": 320, "seconds": 61.0}
    assert variant["settings"] == {
        "train.lr": {"value": 3e-3, "as_good": (1e-3, 5e-3), "end": "high"}
    }
    assert variant["selected"] == pytest.approx(1.0)
