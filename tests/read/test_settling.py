"""Seeds that are added until questions are settled, on planted curves."""

from itertools import pairwise

import numpy as np
import pytest

import ablab
from ablab.config import InputError
from ablab.experiments.cell import run_of_cell
from ablab.read.effects.stored import experiment_effects
from ablab.read.settling import questions_of
from ablab.read.statistics.looks import Looks
from ablab.read.verdicts import verdicts
from ablab.store.expected import stamped
from tests.read.filled import fill_experiment, leaving

WIDER, ALIKE = (
    "leaves(log(10)) is lower where model.d_model=32 than where model.d_model=8",
    "leaves(log(10)) is lower where model.d_model=32 than where model.d_model=16",
)
WITHIN = "leaves(log(10)) is the same where model.d_model=32 as where model.d_model=16 within 30"


def asked(*expect, last=20, **more):
    return {
        "name": "made-up",
        "task": {"kind": "addition"},
        "train": {"steps": 500},
        "grid": {"model.d_model": [8, 16, 32]},
        "seeds": {"from": 3, "to": last},
        "expect": list(expect),
    } | more


def curve(keys, seed, steps):
    """Width 8 leaves log 10 150 steps later; 16 and 32 are alike, but for noise of 15 steps."""
    rng = np.random.default_rng([seed, keys["model.d_model"]])
    at = (300 if keys["model.d_model"] == 8 else 150) + 15 * rng.standard_normal()
    return leaving(rng, steps, at)


def rounds(path, experiment, most=30, curve=curve):
    """Trains round after round; the numbers of seeds of each round, and the store."""
    counts = []
    for _ in range(most):
        counts.append([len(variant.seeds) for variant in experiment.variants])
        store, record = fill_experiment(path, experiment, curve)
        progress = questions_of(store, record)
        if not progress.wanted:
            return counts, progress, store, record
        store.close()
        experiment = experiment.with_seeds(progress.wanted)
    raise AssertionError("it never ends")


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    path = tmp_path_factory.mktemp("settled") / "lab"
    return rounds(path, ablab.experiment(asked(WIDER, ALIKE, WITHIN)))


def test_only_variants_with_an_open_question_get_seeds(settled):
    counts, progress, _, _ = settled
    numbers = Looks(3, 20).numbers
    wider, alike, within = progress.questions
    assert (wider.answer, wider.state) == ("held", "settled")
    assert wider.seeds <= 6  # ten standard deviations
    assert (within.answer, within.state) == ("held", "settled")
    assert alike.answer == "undecided"
    assert alike.state in ("given up", "at the limit")
    first, second, third = counts[-1]
    assert first == wider.seeds
    assert second == third == max(alike.seeds, within.seeds) > first
    for before, after in pairwise(counts):
        assert [after[1], after[2]] == [numbers[numbers.index(before[1]) + 1]] * 2


def test_a_verdict_stays_as_it_was_when_it_was_settled(settled, tmp_path):
    counts, progress, _, _ = settled
    early = ablab.experiment(asked(WIDER, ALIKE, WITHIN))
    seeds = progress.questions[0].seeds
    early = early.with_seeds(dict.fromkeys(range(3), seeds))
    then = questions_of(*fill_experiment(tmp_path / "lab", early, curve)).questions[0]
    now = progress.questions[0]
    assert counts[-1][2] > seeds
    assert (then.found, then.p, then.told) == (now.found, now.p, now.told)


def test_verdicts_are_those_of_the_looks(settled):
    _, progress, store, record = settled
    for question, verdict in zip(progress.questions, verdicts(store, record), strict=True):
        assert (verdict.outcome, verdict.p) == (question.found.outcome, question.p)
        assert verdict.settled == question.seeds
        assert question.said in verdict.evidence
    held = verdicts(store, record)[0]
    assert held.p < 0.05
    assert f"with {held.settled} seeds" in held.evidence
    assert verdicts(store, record)[0].as_data()["settled"] == held.settled


def test_runs_are_members_in_the_order_of_the_grid(settled):
    counts, _, store, record = settled
    runs = store.runs(record)
    cells = [(run.variant["model.d_model"], run.seed) for run in runs]
    assert cells == [
        (width, seed)
        for width, count in zip((8, 16, 32), counts[-1], strict=True)
        for seed in range(count)
    ]
    assert len(store.experiments()) == 1
    for run in runs[-2:]:
        assert run_of_cell(record.definition, run.variant, run.seed).id == run.run


def test_equal_values_are_settled_by_a_sign_test(tmp_path):
    """No run diverges: of 3 seeds that leaves a rate of 71% open, so more are needed."""
    text = "diverged is below 0.1 where model.d_model=8"
    made = ablab.experiment(asked(text))
    counts, progress, _, _ = rounds(tmp_path / "lab", made, curve=lambda *_: np.ones(500))
    (question,) = progress.questions
    levels = dict(zip(Looks(3, 20).numbers, Looks(3, 20).levels, strict=True))
    assert (question.state, question.answer) == ("settled", "held")
    assert question.found.p == 0.5**question.seeds < levels[question.seeds]
    assert all(0.5**seeds >= level for seeds, level in levels.items() if seeds < question.seeds)
    assert counts[-1][1] == counts[-1][2] == 3  # of the other widths nothing is asked


def test_effects_are_questions_where_nothing_is_expected(tmp_path):
    definition = asked(answer="leaves(log(10))")
    counts, progress, store, record = rounds(tmp_path / "lab", ablab.experiment(definition))
    assert stamped(store, record) == []
    answers = {each.text: each.answer for each in progress.questions}  # the default width is 32
    assert answers == {"model.d_model=8 vs 32": "differs", "model.d_model=16 vs 32": "undecided"}
    assert counts[-1][0] == progress.questions[0].seeds < counts[-1][1] == counts[-1][2]
    effects = experiment_effects(store, record)
    assert "Seeds were added" in " ".join(effects.notes())
    level = dict(zip(Looks(3, 20).numbers, Looks(3, 20).levels, strict=True))[effects.seeds]
    for each in effects.factorial:  # two comparisons, so that the larger p stays as it is
        assert each.p_adjusted >= min(1.0, 0.05 / level * each.p) * (1 - 1e-9)


def test_null_can_be_the_value_that_others_are_compared_with(tmp_path):
    definition = asked(answer="final(loss)", grid={"train.clip_norm": [None, 0.5]}) | {
        "model": {"d_model": 8}
    }

    def apart(keys, seed, steps):
        rng = np.random.default_rng([seed, keys["train.clip_norm"] is None])
        return (1 + (keys["train.clip_norm"] is None) + 0.05 * rng.standard_normal()) + 0 * steps

    stored = fill_experiment(tmp_path / "lab", ablab.experiment(definition), apart)
    (question,) = questions_of(*stored).questions
    assert (question.answer, question.state) == ("differs", "settled")
    assert len(question.runs) == 6


def test_without_a_question_nothing_can_be_settled(tmp_path):
    lone = asked() | {"grid": {}, "model": {"d_model": 8}}
    stored = fill_experiment(
        tmp_path / "lab", ablab.experiment(lone), lambda _, seed, steps: np.ones(len(steps))
    )
    with pytest.raises(InputError, match="made-up has no question that seeds could settle"):
        questions_of(*stored)


def test_a_question_that_no_seeds_can_settle_asks_for_none(tmp_path):
    missing = "final(loss) is lower where model.d_model=64 than where model.d_model=8"
    lacking = "eval_accuracy is above 0.5"
    experiment = ablab.experiment(asked(missing, lacking))
    progress = questions_of(*fill_experiment(tmp_path / "lab", experiment, curve))
    assert [each.state for each in progress.questions] == ["no test", "no test"]
    assert progress.wanted == {}


def test_a_limit_that_was_raised_is_told(tmp_path):
    path = tmp_path / "lab"
    fill_experiment(path, ablab.experiment(asked(WIDER, last=6)), curve)[0].close()
    progress = questions_of(*fill_experiment(path, ablab.experiment(asked(WIDER, last=20)), curve))
    assert progress.earlier == (6,)
    assert "settled with seeds up to 6 before" in progress.about


def test_a_round_that_has_not_ended_shows_nothing_yet(tmp_path):
    experiment = ablab.experiment(asked(WIDER))
    store, record = fill_experiment(tmp_path / "lab", experiment, curve)
    with store.index.transaction() as connection:
        (run, *_) = [row["run"] for row in store.members(record.id)]
        connection.execute("UPDATE runs SET step = 400 WHERE id = ?", (run,))
    (question,) = questions_of(store, record).questions
    assert (question.state, question.seeds, question.p, question.wanted) == ("open", 0, None, 3)
    assert verdicts(store, record)[0].state == "not tested"
