import json
from dataclasses import replace

import pytest

from ablab.execute.cost import StepCost
from ablab.execute.speeds import Speeds
from ablab.train.method import SOLO, STACK, Method

SMALL = StepCost("small", 1e7, 1e6, 10**6, 10**4, 100, 11, 64)
TWICE = StepCost("twice", 2e7, 2e6, 2 * 10**6, 2 * 10**4, 100, 11, 64)
FAR = StepCost("far", 1e12, 1e11, 10**10, 10**8, 5000, 512, 64)
COMPILED = Method("stack", True, "innermost", "plain", 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "speeds.json"


def test_what_was_measured_is_what_is_foreseen_in_the_next_command_too(path):
    speeds = Speeds(path)
    assert not speeds.knows(SMALL, SOLO, 1, 2)
    speeds.note_step(SMALL, SOLO, 1, 2, 0.123)
    speeds.save()
    again = Speeds(path)
    assert again.knows(SMALL, SOLO, 1, 2)
    assert again.step(SMALL, SOLO, 1, 2) == 0.123
    assert not again.knows(SMALL, SOLO, 2, 2)
    assert not again.knows(SMALL, STACK, 1, 2)
    again.note_step(SMALL, SOLO, 1, 2, 0.123 * 4)
    assert again.step(SMALL, SOLO, 1, 2) == pytest.approx(0.246)


def test_steps_that_were_timed_alone_take_as_much_longer_as_others_did_in_training(path):
    speeds = Speeds(path)
    for shape in (SMALL, TWICE):
        speeds.note_step(shape, STACK, 1, 2, 0.01, timed=True)
        assert speeds.step(shape, STACK, 1, 2) == 0.01
    speeds.note_step(SMALL, STACK, 1, 2, 0.016)
    assert speeds.step(SMALL, STACK, 1, 2) == 0.016  # what was timed has no weight any more
    assert speeds.step(TWICE, STACK, 1, 2) == pytest.approx(0.01 * 1.6**0.5)  # one pair is little
    speeds.note_step(FAR, STACK, 1, 1, 0.01, timed=True)
    assert speeds.step(FAR, STACK, 1, 1) == 0.01  # with another number of processes
    speeds.note_step(SMALL, STACK, 1, 2, 0.004)
    assert speeds.step(SMALL, STACK, 1, 2) == pytest.approx(0.008)
    speeds.save()
    assert Speeds(path).step(TWICE, STACK, 1, 2) == pytest.approx(0.01 * 1.6**0.5)


def test_what_watching_costs_is_uncertain_until_it_was_trained_with(path):
    watched = replace(TWICE, key="watched", watched=True)
    speeds = Speeds(path)
    for shape in (TWICE, watched):
        speeds.note_step(shape, STACK, 1, 2, 0.01, timed=True)
    assert speeds.step_factor(TWICE, STACK, 1, 2) < 2
    assert speeds.step_factor(watched, STACK, 1, 2) >= 2.5
    speeds.note_step(watched, STACK, 1, 2, 0.02)
    assert speeds.step_factor(watched, STACK, 1, 2) < 1.5


def test_watching_is_counted_once_for_shapes_like_one_that_was_trained_with_it(path):
    """A watched step takes twice as long as the cost model has it, and so should one like it."""
    one, like = (replace(TWICE, key=key, watched=True) for key in ("one", "like"))
    speeds = Speeds(path)
    model = speeds.model_step(TWICE, SOLO, 1)
    assert speeds.step(like, SOLO, 1, 1) == pytest.approx(2 * model)
    speeds.note_step(one, SOLO, 1, 1, 2 * model)
    assert speeds.step(one, SOLO, 1, 1) == 2 * model
    assert speeds.step(like, SOLO, 1, 1) == pytest.approx(2 * model)


def test_an_unknown_shape_learns_from_its_neighbours_and_little_from_others(path):
    speeds = Speeds(path)
    near, far = speeds.step(TWICE, SOLO, 1, 1), speeds.step(FAR, SOLO, 1, 1)
    compiled = speeds.step(TWICE, COMPILED, 1, 1)
    speeds.note_step(SMALL, SOLO, 1, 1, 10 * speeds.model_step(SMALL, SOLO, 1))
    assert 1.2 * near < speeds.step(TWICE, SOLO, 1, 1) < 10 * near
    assert speeds.step(FAR, SOLO, 1, 1) == pytest.approx(far, rel=0.01)
    assert speeds.step(TWICE, COMPILED, 1, 1) == compiled
    assert speeds.model_step(TWICE, SOLO, 1) == near


def test_more_work_takes_longer_and_more_threads_less(path):
    speeds = Speeds(path)
    for method in (SOLO, STACK, COMPILED):
        assert speeds.step(TWICE, method, 1, 1) > speeds.step(SMALL, method, 1, 1)
        assert speeds.step(SMALL, method, 2, 1) < speeds.step(SMALL, method, 1, 1)


def test_a_program_compiles_once(path):
    speeds = Speeds(path)
    assert speeds.compile_seconds(SMALL, SOLO) == 0
    cold = speeds.compile_seconds(SMALL, COMPILED)
    speeds.note_compiled(SMALL, COMPILED, 3 * cold)
    assert speeds.compile_seconds(SMALL, COMPILED) < cold
    assert speeds.compile_seconds(TWICE, COMPILED) > cold


def test_a_program_that_was_loaded_tells_nothing_of_compiling(path):
    speeds = Speeds(path)
    cold = speeds.compile_seconds(SMALL, COMPILED)
    speeds.note_compiled(TWICE, COMPILED, 0.003)
    assert speeds.compile_seconds(SMALL, COMPILED) == cold
    speeds.note_compiled(SMALL, COMPILED, cold)
    stored = speeds.compile_seconds(SMALL, COMPILED)
    speeds.note_compiled(SMALL, COMPILED, 0.003)
    assert speeds.compile_seconds(SMALL, COMPILED) < stored < cold


def test_estimates_are_kept_beside_what_they_came_to(path):
    speeds = Speeds(path)
    for number in range(60):
        speeds.note_estimate("grid", number, 2 * number)
    speeds.save()
    kept = Speeds(path).estimates
    assert len(kept) == 50
    assert kept[-1] == {"name": "grid", "estimated": 59, "measured": 118}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"steps": {}}', "\x00\xff"])
def test_a_damaged_file_is_begun_anew(path, damage):
    path.write_text(damage)
    speeds = Speeds(path)
    assert speeds.step(SMALL, SOLO, 1, 1) > 0
    speeds.save()
    assert set(json.loads(path.read_text())) >= {"steps", "compiled", "estimates"}


def test_a_folder_that_cannot_be_written_to_is_passed_over(tmp_path):
    (tmp_path / "file").write_text("")
    Speeds(tmp_path / "file" / "speeds.json").save()
    assert (tmp_path / "file").read_text() == ""
