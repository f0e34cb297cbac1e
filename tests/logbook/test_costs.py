"""Costs beside gain, on made-up runs."""

import re

from ablab.logbook.costs import cost_section, scientific
from ablab.read.step_costs import StepCosts
from ablab.read.training_flops import StepFlops
from ablab.store.store import RunRecord
from tests.logbook.made_up import measured


def run(name, width, seed, seconds, n_params):
    return RunRecord(
        name, ["made-up"], {"model.d_model": width}, seed, "finished", 100, 100, None, None,
        seconds, n_params, None,
    )  # fmt: skip


def section():
    runs = [run("a", 8, 0, 10.0, 1000), run("b", 8, 1, 30.0, 1000), run("c", 16, 0, 50.0, 4000),
            run("d", 16, 1, 50.0, 4000)]  # fmt: skip
    costs = {
        each.run: StepCosts(
            tokens=2048.0,
            seconds=each.seconds / 100,
            flops=StepFlops(6.0 * each.n_params * 2048, "6 N per token", True),
        )
        for each in runs
    }
    found = measured("final(eval_loss)", {"8": [1.0, 1.2], "16": [0.5, 0.6]})
    return cost_section(runs, costs, found)


def test_each_variant_has_its_costs():
    found = section()
    assert found.header == [
        "variant", "parameters", "FLOPs per step", "tokens per step", "seconds per run",
        "FLOPs per run",
    ]  # fmt: skip
    # 6 · 1,000 · 2,048 = 12,288,000 operations a step, 100 steps
    assert found.rows == [
        ["d_model 8", "1,000", "12.3 M", "2,048", "20", "1.23 G"],
        ["d_model 16", "4,000", "49.2 M", "2,048", "50", "4.92 G"],
    ]
    assert "estimated as 6 N per token" in found.notes[0]
    assert "share of the time" in found.notes[1]


def test_the_measure_is_drawn_against_each_cost_that_differs():
    said = re.findall(r"<text[^>]*>([^<]*)</text>", section().drawing)
    assert {"parameters", "FLOPs per run", "seconds per run"} <= set(said)
    assert "tokens per step" not in said  # the same for all
    assert "final held-out loss" in said
    assert {"d_model 8", "d_model 16"} <= set(said)


def test_nothing_was_trained_yet():
    runs = [run("a", 8, 0, 0.0, None)]
    assert cost_section(runs, {"a": StepCosts(None, None, None)}, None) is None


def test_large_numbers_are_short():
    assert [scientific(each) for each in (None, 12.0, 1.5e3, 2.34e9, 5e16)] == [
        "", "12", "1.5 k", "2.34 G", "50 P",
    ]  # fmt: skip
