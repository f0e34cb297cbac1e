"""Halving on planted curves: the decisions were written down before the code had made any."""

import json

import numpy as np
import polars as pl
import pytest

from ablab.read.effects.stored import experiment_effects
from ablab.read.halving import judge_rung
from ablab.read.halving_report import _few, halving_report, rung_sentence
from ablab.read.measures import measure_table
from ablab.read.verdicts import verdicts
from ablab.store.rungs import decide_rung, paused_runs, rung_decisions
from ablab.store.store import StoreError
from tests.read.filled import fill, grid, leaving

LOG10 = float(np.log(10))
WIDTHS = [8, 16, 32, 64]
HALVING = {"rungs": [600], "keep": "1/2", "measure": "final(train_loss)"}


def experiment_of(widths=WIDTHS, steps=2000, seeds=3, halving=HALVING, **more):
    asked = {"grid": {"model.d_model": widths}, "halving": halving} | more
    return grid(steps=steps, seeds=seeds, **asked)


def at_rung(store, step=600):
    """Sets the runs back to a rung, as if they had not been trained any further."""
    with store.index.transaction() as connection:
        connection.execute("UPDATE runs SET step = min(step, ?)", (step,))


def planted(path, curve, **more):
    """A store of an experiment with halving whose runs have come to the first rung."""
    store, record = fill(path / "lab", experiment_of(**more), curve)
    at_rung(store)
    return store, record


def falls(keys, seed, steps, at):
    return leaving(np.random.default_rng([seed, keys["model.d_model"]]), steps, at)


def slow(keys, seed, steps):
    """A curve that falls all the time and stays above log 10: it is on no plateau."""
    noise = 1 + 0.01 * np.random.default_rng([seed, 1]).standard_normal(len(steps))
    return 8 * (steps + 1) ** -0.15 * noise


def late_leaver(keys, seed, steps):
    """Widths 8 and 16 leave log 10 early, 32 after the rung; 64 is worse, and on no plateau."""
    at = {8: 100, 16: 200, 32: 900}
    width = keys["model.d_model"]
    return falls(keys, seed, steps, at[width]) if width in at else slow(keys, seed, steps)


def outcomes(decisions):
    return [each.outcome for each in decisions]


def test_a_line_names_a_few_of_many_variants():
    names = [f"d_model {width}" for width in range(9)]
    assert _few(names[:6]) == ", ".join(names[:6])
    assert _few(names) == "d_model 0, d_model 1, d_model 2, d_model 3, d_model 4 and 4 others"


def test_a_late_leaver_goes_on_and_a_slow_one_is_paused(tmp_path):
    store, record = planted(tmp_path, late_leaver)
    found = judge_rung(store, record)
    assert outcomes(found) == ["goes on", "goes on", "late", "paused"]
    told, step = found[2].why.rsplit(" ", 1)
    assert told == (
        "3 of 3 runs are on the plateau at log(10) (2.3) that 6 other runs left, the latest at step"
    )
    assert int(step) == pytest.approx(200, abs=5)  # as the reader finds it
    assert found[2].value == pytest.approx(LOG10, rel=0.01)
    assert "one of the 2 of 4 variants that go on" in found[0].why
    assert "its runs are on no plateau" in found[3].why
    assert {each.threshold for each in found} == {max(found[0].value, found[1].value)}
    assert rung_sentence(store, record, found) == (
        "halving at step 600: 3 of 4 variants go on, d_model 32 on a plateau that others have "
        "left; paused: d_model 64"
    )


def test_a_plateau_that_nobody_left_is_no_excuse(tmp_path):
    def curve(keys, seed, steps):
        if keys["model.d_model"] == 64:
            return falls(keys, seed, steps, 1900) * 1.2  # at 2.76, which is nobody's level
        return falls(keys, seed, steps, 100)

    store, record = planted(tmp_path, curve)
    found = judge_rung(store, record)
    assert found[3].outcome == "paused"
    assert "0 of 3 runs on a plateau that others left" in found[3].why


def test_one_of_three_runs_on_a_plateau_is_not_enough(tmp_path):
    def curve(keys, seed, steps):
        if keys["model.d_model"] == 64 and seed:
            return slow(keys, seed, steps)
        return falls(keys, seed, steps, 900 if keys["model.d_model"] == 64 else 100)

    store, record = planted(tmp_path, curve)
    found = judge_rung(store, record)
    assert found[3].outcome == "paused"
    assert "1 of 3 runs on a plateau that others left" in found[3].why


def test_other_seeds_of_the_same_variant_count_as_others(tmp_path):
    def curve(keys, seed, steps):
        if keys["model.d_model"] == 8:
            return falls(keys, seed, steps, 100) / 3  # from another level than log 10
        return falls(keys, seed, steps, 100 if seed == 0 else 900)

    asked = {"widths": [8, 16], "halving": HALVING}
    store, record = planted(tmp_path, curve, **asked)
    found = judge_rung(store, record)
    assert outcomes(found) == ["goes on", "late"]
    assert "2 of 3 runs are on the plateau" in found[1].why
    assert "that 1 other run left" in found[1].why


def test_runs_of_another_experiment_count_as_others(tmp_path):
    def curve(keys, seed, steps):
        if keys["model.d_model"] == 8:
            return falls(keys, seed, steps, 100) / 3
        return falls(keys, seed, steps, 900)

    elsewhere = grid(steps=2000, seeds=2, grid={"model.n_layers": [2, 3]}, name="elsewhere")
    fill(tmp_path / "lab", elsewhere, lambda keys, seed, steps: leaving(
        np.random.default_rng(seed), steps, 1500))[0].close()  # fmt: skip
    asked = experiment_of(widths=[8, 16])
    store, record = fill(tmp_path / "lab", asked, curve)
    runs = [row["run"] for row in store.members(record.id)]
    with store.index.transaction() as connection:
        connection.executemany("UPDATE runs SET step = 600 WHERE id = ?", [(r,) for r in runs])
    found = judge_rung(store, record)
    assert outcomes(found) == ["goes on", "late"]
    assert (
        "4 other runs left, 4 of them of other experiments, the latest at step 1," in found[1].why
    )


def test_only_what_is_known_at_the_rung_counts(tmp_path):
    def curve(keys, seed, steps):
        low = keys["model.d_model"] in (8, 16)
        first, later = (1.0, 3.0) if low else (2.0, 0.1)  # the others are better in the end
        noise = 1 + 0.01 * np.random.default_rng([seed, 2]).standard_normal(len(steps))
        return np.where(steps <= 600, first, later) * noise

    store, record = planted(tmp_path, curve)
    assert outcomes(judge_rung(store, record)) == ["goes on", "goes on", "paused", "paused"]


def test_diverged_runs_are_worst_and_ties_go_on(tmp_path):
    def curve(keys, seed, steps):
        width = keys["model.d_model"]
        if width == 8 or (width == 16 and seed < 2):
            return None
        return np.full(len(steps), 1.0)

    store, record = planted(tmp_path, curve)
    found = judge_rung(store, record)
    # All runs of width 8 have ended. The third of width 16 has steps left.
    assert outcomes(found) == ["ended", "paused", "goes on", "goes on"]
    assert found[1].value is None
    assert found[1].why.startswith("half of its runs or more diverged")


def test_higher_values_can_be_better(tmp_path):
    def curve(keys, seed, steps):
        flat = np.ones(len(steps))
        return {"train_loss": flat, "eval_accuracy": flat * keys["model.d_model"] / 100}

    halving = HALVING | {"measure": "final(eval_accuracy)"}
    store, record = planted(tmp_path, curve, halving=halving)
    found = judge_rung(store, record)
    assert outcomes(found) == ["paused", "paused", "goes on", "goes on"]
    assert "0.08 is below 0.32" in found[0].why


def test_decisions_are_stored_once_and_pause_runs(tmp_path):
    store, record = planted(tmp_path, late_leaver)
    found = judge_rung(store, record)
    assert decide_rung(store, record, found) == found
    others = [type(each)(600, each.variant, "paused", 1.0, 1.0, "later") for each in found]
    assert decide_rung(store, record, others) == found  # what was decided before stays so
    assert rung_decisions(store, record.id) == found
    assert judge_rung(store, record) == []
    paused = paused_runs(store, record)
    runs = {run.run: run for run in store.runs(record)}
    assert {runs[run].variant["model.d_model"] for run in paused} == {64}
    assert {(runs[run].status, runs[run].step) for run in paused} == {("stopped", 600)}
    told = halving_report(store, record)
    assert (told.paused, told.late) == (1, 1)
    assert (told.run_steps, told.full) == (12 * 600, 12 * 2000)
    assert "not known to be worse" in told.sentence
    json.dumps(told.as_data())


# Two settings, of which the second has a cell that halving paused.
CELLS = {"model.n_heads": [1, 4], "model.d_model": [8, 16]}
CLAIM = "where model.n_heads=1 than where model.n_heads=4"


def paused_cell(path, curve, *claims, rung=600):
    """A store in which the cell of 4 heads and width 16 is paused at a rung, the rest trained."""
    halving = HALVING | {"rungs": [rung]}
    asked = grid(steps=2000, seeds=8, grid=CELLS, halving=halving, expect=list(claims))
    store, record = fill(path / "lab", asked, curve)
    variants = {row["run"]: json.loads(row["variant"]) for row in store.members(record.id)}
    cut = [run for run, cell in variants.items() if tuple(cell.values()) == (4, 16)]
    with store.index.transaction() as connection:
        connection.executemany("UPDATE runs SET step = ? WHERE id = ?", [(rung, r) for r in cut])
    decided = judge_rung(store, record)
    # Whatever it would decide, the last cell is the one that is paused.
    made = [type(each)(rung, each.variant, "paused" if each.variant == 3 else "goes on",
                       each.value, each.threshold, "planted") for each in decided]  # fmt: skip
    decide_rung(store, record, made)
    return store, record


def levels(keys, seed, steps):
    level = 0.1 if keys["model.n_heads"] == 1 else 1.0
    noise = 1 + 0.02 * np.random.default_rng([seed, *keys.values()]).standard_normal(len(steps))
    return np.full(len(steps), level) * noise


def test_a_claim_that_a_paused_run_could_contradict_is_undecided(tmp_path):
    store, record = paused_cell(
        tmp_path, levels,
        f"final(train_loss) is lower {CLAIM}",
        "final(train_loss) is lower where model.d_model=8 than where model.d_model=16",
        f"at(train_loss, 500) is lower {CLAIM}",
        "final(train_loss) is below 0.5 where model.n_heads=1",
        "final(train_loss) is above 0.5 where model.n_heads=4",
    )  # fmt: skip
    final, _, at_500, whole, half = verdicts(store, record)
    assert final.outcome == "undecided"
    assert "8 paused by halving at step 600" in final.evidence
    assert "it would hold without the 8 runs that halving paused" in final.evidence
    assert at_500.outcome == "held"  # all of them have come to step 500
    assert whole.outcome == "held"  # about runs that were all trained to the end
    assert half.outcome == "undecided"
    assert "it would hold without the 8 runs that halving paused" in half.evidence


def test_without_the_pause_the_claims_would_hold(tmp_path):
    asked = grid(steps=2000, seeds=8, grid=CELLS, expect=[f"final(train_loss) is lower {CLAIM}"])
    (found,) = verdicts(*fill(tmp_path / "lab", asked, levels))
    assert found.outcome == "held"


@pytest.mark.parametrize(("rung", "outcome"), [(400, "undecided"), (1000, "held")])
def test_steps_that_paused_runs_did_not_reach_count_as_worst(tmp_path, rung, outcome):
    def curve(keys, seed, steps):  # one head gets there at 500 to 700; four heads do not
        reach = 500 + 25 * seed if keys["model.n_heads"] == 1 else 10_000
        return np.where(steps < reach, 2.0, 0.01)

    # Paused at 400, it could have got there before; paused at 1,000, it could not.
    claim = {
        "claim": "one head gets there first", "measure": "steps_to(train_loss, 0.1)",
        "where": {"model.n_heads": 1, "model.d_model": 16}, "lower_than": {"model.n_heads": 4},
    }  # fmt: skip
    store, record = paused_cell(tmp_path, curve, claim, rung=rung)
    (found,) = verdicts(store, record)
    assert found.outcome == outcome
    assert "8 of the other runs were paused by halving and count as what is worst" in found.evidence


def test_effects_leave_out_what_would_compare_with_paused_runs(tmp_path):
    store, record = paused_cell(tmp_path, levels)
    found = experiment_effects(store, record, measure="final(train_loss)")
    assert found.factorial == ()
    assert found.interactions == ()
    # The base has 4 heads and width 8: heads are compared at width 8, but widths with the cell.
    assert [each.key for each in found.marginal] == ["model.n_heads"]
    assert "2 of 2 comparisons in which they would count are left out" in found.paused
    assert any("Halving paused 8 of 32 runs" in note for note in found.notes())
    assert found.stopped == 0
    before = experiment_effects(store, record, measure="at(train_loss, 500)")
    assert before.paused == ""
    assert {each.key for each in before.factorial} == {"model.n_heads", "model.d_model"}


def test_a_paused_run_has_no_value_of_its_end(tmp_path):
    store, record = paused_cell(tmp_path, levels)
    for measure in ("final(train_loss)", "best(train_loss)", "floor(train_loss)", "diverged",
                    "spikes(train_loss)", "at(train_loss, 1500)"):  # fmt: skip
        frame = measure_table(store, record, measure)
        lost = frame.filter(pl.col("value").is_null() & pl.col("not_before").is_null())
        assert len(lost) == 8, measure
        assert set(lost["reason"]) == {"paused by halving at step 600"}, measure


def test_a_damaged_decision_is_named(tmp_path):
    store, record = planted(tmp_path, late_leaver)
    decide_rung(store, record, judge_rung(store, record))
    with store.index.transaction() as connection:
        connection.execute('UPDATE rungs SET about = \'{"outcome": "won"}\' WHERE variant = 1')
    with pytest.raises(StoreError, match="a rung of halving is damaged"):
        rung_decisions(store, record.id)


def test_a_value_that_is_not_finite_is_the_worst(tmp_path):
    def with_infinities(keys, seed, steps):
        curve = slow(keys, seed, steps) / (1 if keys["model.d_model"] == 8 else 2)
        broken = keys["model.d_model"] == 32 or (keys["model.d_model"] == 16 and seed < 2)
        return np.where((steps == 600) & broken, np.inf, curve)

    store, record = planted(tmp_path, with_infinities)
    found = {each.variant: each for each in judge_rung(store, record)}
    assert [found[place].outcome for place in range(4)] == [
        "goes on",
        "paused",
        "paused",
        "goes on",
    ]
