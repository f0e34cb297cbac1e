"""The resolution of a page's curves."""

import polars as pl
import pytest

from ablab.logbook.drawn_curves import curve_detail, drawn_curves, variant_costs
from ablab.read.step_costs import StepCosts
from ablab.read.training_flops import StepFlops
from ablab.store.store import RunRecord


@pytest.mark.parametrize("variants", [1, 12, 200, 1000])
@pytest.mark.parametrize("seeds", [1, 5, 20])
@pytest.mark.parametrize("statistics", [0, 12])
def test_a_page_holds_a_bounded_number_of_numbers(variants, seeds, statistics):
    measures = 3
    first, second = curve_detail(variants, seeds, measures, statistics)
    assert 40 <= first.points <= 400
    assert second.points == 0 or 40 <= second.points <= 400
    count = {"extremes": 3 + 3 * seeds, "values": 3 + seeds, "none": 3}
    numbers = variants * measures * first.points * count[first.seeds]
    numbers += variants * statistics * second.points * count[second.seeds]
    assert numbers <= 800_000


def test_few_runs_are_drawn_in_full_and_many_without_their_seeds():
    assert curve_detail(6, 3, 3, 0)[0].seeds == "extremes"
    assert curve_detail(200, 5, 3, 0)[0].seeds == "values"
    assert curve_detail(200, 20, 3, 0)[0].seeds == "none"
    assert curve_detail(6, 1, 3, 0)[0].seeds == "none"  # a single seed is the median


def frame(seeds):
    return pl.DataFrame(
        {
            "d": [8] * 3 * seeds,
            "seed": [seed for seed in range(seeds) for _ in range(3)],
            "step": [1, 2, 3] * seeds,
            "train_loss": [float(step + seed) for seed in range(seeds) for step in (3, 2, 1)],
            "eval_accuracy": [0.1 * seed for seed in range(seeds) for _ in range(3)],
        }
    )


def test_of_two_seeds_the_less_favourable_is_drawn():
    directions = {"train_loss": "lower", "eval_accuracy": "higher"}
    found = drawn_curves(frame(2), ["d"], directions.get)
    assert found["train_loss"][0].values == [4.0, 3.0, 2.0]
    assert found["eval_accuracy"][0].values == [0.0, 0.0, 0.0]
    assert len(found["train_loss"][0].seeds) == 2
    assert drawn_curves(frame(1), ["d"])["train_loss"][0].seeds == []


def test_costs_of_a_variant_are_medians_over_its_seeds():
    runs = [
        RunRecord(f"r{seed}", ["x"], {"d": 8}, seed, "finished", 10, 10, 1.0, 1.0, 1.0, 5, None)
        for seed in range(3)
    ]
    costs = {
        f"r{seed}": StepCosts(640.0, seconds, StepFlops(1e6, "6 N per token", True))
        for seed, seconds in enumerate([0.1, 0.5, None])
    }
    (found,) = variant_costs(runs, costs).values()
    assert (found.tokens, found.flops, found.formula) == (640.0, 1e6, "6 N per token")
    assert found.seconds == pytest.approx(0.3)
    assert found.of_seeds == {0: 0.1, 1: 0.5}
