from ablab.train.config import StopConfig
from ablab.train.loop import rule_after_stored_steps
from ablab.train.stopping import StopRule
from tests.helpers import make_run


def looks(config, values):
    rule = StopRule(StopConfig(**config))
    return [rule.update(value) for value in values]


def test_a_threshold_stops_at_the_first_value_below_it():
    assert looks({"below": 0.5}, [0.9, 0.5, 0.49]) == [False, False, True]


def test_patience_counts_looks_without_an_improvement():
    assert looks({"patience": 2}, [1.0, 0.9, 0.95, 0.9, 0.8]) == [False, False, False, True, False]


def test_an_improvement_has_to_be_larger_than_min_delta():
    assert looks({"patience": 2, "min_delta": 0.1}, [1.0, 0.95, 0.91]) == [False, False, True]
    assert looks({"patience": 2, "min_delta": 0.1}, [1.0, 0.95, 0.85]) == [False, False, False]


def test_a_stored_curve_is_judged_by_the_means_of_logging_intervals():
    run = make_run(steps=40, stop={"below": 0.5}, log_every=10)
    losses = {step: 1.0 if step <= 15 else 0.2 for step in range(1, 41)}
    # Means: 1.0 (1 to 10), 0.6 (11 to 20), 0.2 (21 to 30).
    assert rule_after_stored_steps(run, losses, {})[1] == 30
    assert rule_after_stored_steps(run, {s: v for s, v in losses.items() if s <= 20}, {})[1] is None


def test_a_stored_rule_goes_on_where_it_was():
    run = make_run(steps=100, stop={"measure": "eval_loss", "patience": 2}, evaluate={"every": 10})
    rule, stopped = rule_after_stored_steps(run, {}, {0: 3.0, 10: 1.0, 20: 1.5})
    assert stopped is None
    assert rule is not None
    assert rule.update(1.2)


def test_runs_without_a_rule_have_none():
    assert rule_after_stored_steps(make_run(), {1: 0.0}, {}) == (None, None)
