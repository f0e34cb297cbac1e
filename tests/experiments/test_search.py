"""What tuning tries: planted optima are found, and draws are the same for everyone."""

import math
import statistics
import sys

import pytest

from ablab.config import InputError
from ablab.experiments.axes import SweepContext
from ablab.experiments.search import (
    BATCH,
    FIRST,
    check_search,
    next_trials,
    planned_trials,
)
from ablab.experiments.tree import Origins
from ablab.experiments.tuning import read_tuning

OVER = {"train.lr": "loguniform(1e-4, 1e-1)", "train.weight_decay": "uniform(0, 0.1)"}
SEARCHES = ["sobol", "random", "optuna"]


def tuning(search="sobol", trials=16, over=OVER):
    value = {"over": over, "trials": trials, "search": search}
    return read_tuning(value, (), SweepContext("any", {}), Origins())


def searched(asked, name, score):
    """All trials of a variant, in order, when ``score`` says how good each is."""
    tried = []
    while new := next_trials(asked, name, "base", tried):
        tried += [(each, score(each)) for each in new]
    return tried


def bowl(lr, weight_decay):
    """A quadratic with its least value, 0, at given settings."""
    return lambda each: (
        (math.log10(each["train.lr"]) - math.log10(lr)) ** 2
        + (10 * (each["train.weight_decay"] - weight_decay)) ** 2
    )


BOWLS = [(10**-a, b) for a in (1.4, 2.1, 2.6, 3.2) for b in (0.015, 0.05, 0.085)]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_planted_optimum_is_found(search):
    found = searched(tuning(search, 64), "planted", bowl(3e-3, 0.03))
    assert len(found) == 64
    best, value = min(found, key=lambda each: each[1])
    # 64 points cover 3 decades × 0.1: a cell is 0.4 decades × 0.0125.
    assert abs(math.log10(best["train.lr"] / 3e-3)) < 0.4
    assert value < 0.1


@pytest.mark.parametrize("search", SEARCHES)
def test_trials_are_the_same_for_everyone_and_within_their_ranges(search):
    asked = tuning(search, 16)
    first, again = (searched(asked, "planted", bowl(3e-3, 0.03)) for _ in range(2))
    assert first == again
    assert first != searched(asked, "another", bowl(3e-3, 0.03))
    for each, _ in first:
        assert 1e-4 <= each["train.lr"] <= 1e-1
        assert 0 <= each["train.weight_decay"] <= 0.1


@pytest.mark.parametrize("search", ["sobol", "random"])
def test_one_round_has_all_trials_and_more_trials_include_fewer(search):
    eight, sixteen = (next_trials(tuning(search, n), "planted", "any", []) for n in (8, 16))
    assert [len(eight), len(sixteen)] == [8, 16]
    assert sixteen[:8] == eight
    assert next_trials(tuning(search, 8), "planted", "other variant", []) == eight
    assert planned_trials(tuning(search, 8), "planted") == eight


def test_a_sobol_sequence_has_a_trial_in_each_sixteenth_of_a_range():
    found = next_trials(tuning("sobol", 16), "planted", "base", [])
    places = sorted(int(16 * (math.log10(each["train.lr"]) + 4) / 3) for each in found)
    assert places == list(range(16))


def test_optuna_begins_with_points_that_all_variants_share_and_goes_on_in_batches():
    asked = tuning("optuna", 16)
    first = next_trials(asked, "planted", "a", [])
    assert first == next_trials(asked, "planted", "b", [])
    assert len(first) == FIRST
    tried = [(each, bowl(3e-3, 0.03)(each)) for each in first]
    second = next_trials(asked, "planted", "a", tried)
    assert len(second) == BATCH
    assert second != next_trials(asked, "planted", "b", tried)  # a study of its own
    assert next_trials(asked, "planted", "a", [*tried, *((e, 1.0) for e in second)])
    assert next_trials(tuning("optuna", 9), "planted", "a", tried) == second[:1]
    assert len(next_trials(tuning("optuna", 5), "planted", "a", [])) == 3  # half, rounded up


def test_optuna_beats_random_points_on_planted_quadratics():
    """With 16 trials each, on 12 quadratics: the mean of the best values."""
    means = {}
    for search in ("random", "optuna"):
        asked = tuning(search, 16)
        best = [
            min(value for _, value in searched(asked, f"quadratic-{n}", bowl(*at)))
            for n, at in enumerate(BOWLS)
        ]
        means[search] = statistics.mean(best)
    assert means["optuna"] < means["random"]


def test_optuna_leaves_settings_that_diverge():
    def score(each):
        return math.inf if each["train.lr"] > 1e-2 else bowl(5e-3, 0.05)(each)

    found = searched(tuning("optuna", 32), "diverges", score)
    late = [value for _, value in found[FIRST:]]
    assert sum(map(math.isinf, late)) < len(late) / 3  # a third of the range diverges
    assert min(late) < 0.1


def test_trials_without_any_value_are_no_error():
    found = searched(tuning("optuna", 16), "lost", lambda _: math.inf)
    assert len(found) == 16


def test_whole_numbers_stay_whole():
    for search in SEARCHES:
        asked = tuning(search, 16, {"model.n_layers": "uniform(1, 3)"})
        found = searched(asked, "whole", lambda each: abs(each["model.n_layers"] - 2))
        values = {each["model.n_layers"] for each, _ in found}
        assert values <= {1, 2, 3}
        assert all(isinstance(value, int) for value in values)
        assert min(value for _, value in found) == 0


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    value = {"over": OVER, "search": "optuna"}
    asked = read_tuning(value, (), SweepContext("any", {}), Origins())
    with pytest.raises(InputError) as error:
        check_search(asked)
    assert error.value.problems[0].key == "tune.search"
    assert "pip install 'ablab[tune]'" in error.value.problems[0].expected
