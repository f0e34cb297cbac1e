"""When an expectation was written: before results, or after they had been seen."""

from ablab.experiments.expectations import parse_expectation
from ablab.store.expected import stamp, stamped
from tests.read.filled import fill, grid

SENTENCE = "final(loss) falls with model.d_model"


def flat(keys, seed, steps):
    return [1.0] * len(steps)


def filled(folder, **changes):
    return fill(folder, grid(steps=20) | changes, flat)


def test_an_expectation_keeps_its_stamp_when_the_grid_is_widened(tmp_path):
    store, narrow = filled(tmp_path / "lab", seeds=2, expect=[SENTENCE])
    (first,) = stamped(store, narrow)
    assert not first.late
    store, wide = filled(tmp_path / "lab", seeds=3, expect=[SENTENCE, "final(loss) is below 5"])
    kept, new = stamped(store, wide)
    assert wide.id != narrow.id
    assert (kept.written, kept.late) == (first.written, False)
    assert new.late == (new.seen > 0)


def test_one_that_came_after_results_stays_late(tmp_path):
    store, narrow = filled(tmp_path / "lab", seeds=2)
    stamp(store, narrow, [parse_expectation(SENTENCE)])
    (late,) = stamped(store, narrow)
    assert late.seen == 12
    store, wide = filled(tmp_path / "lab", seeds=3, expect=[SENTENCE])
    assert stamped(store, wide) == [late]


def test_the_same_words_under_another_name_are_another_expectation(tmp_path):
    filled(tmp_path / "lab", seeds=2, expect=[SENTENCE])
    store, other = filled(tmp_path / "lab", seeds=2, name="other", expect=[SENTENCE])
    (made,) = stamped(store, other)
    assert made.seen == 12


def test_what_was_written_for_other_runs_is_late_for_these(tmp_path):
    filled(tmp_path / "lab", seeds=[0, 1])
    store, other = filled(tmp_path / "lab", seeds=[7], expect=[SENTENCE])
    assert not stamped(store, other)[0].late
    store, first = filled(tmp_path / "lab", seeds=[0, 1], expect=[SENTENCE])
    store, wide = filled(tmp_path / "lab", seeds=[0, 1, 7], expect=[SENTENCE])
    for record, runs in ((first, 12), (wide, 18)):
        (made,) = stamped(store, record)
        assert (made.seen, made.late) == (runs, True)
