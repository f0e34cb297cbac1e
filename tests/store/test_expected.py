"""When an expectation was written: before results, or after they had been seen."""

import json

from ablab.experiments.expectations import parse_expectation
from ablab.store.expected import stamp, stamped
from ablab.store.transfer import transfer
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


def both_forms(store, record, late):
    """Adds the second row that an earlier release made of a claim."""
    (first,) = stamped(store, record)
    text = json.dumps(late.as_data(), sort_keys=True)
    with store.index.transaction() as connection:
        connection.execute(
            """INSERT INTO expectations (experiment, expectation, written, seen, runs)
               VALUES (?, ?, ?, ?, ?)""",
            (record.id, text, first.written, 0, first.runs),
        )
    assert len(stamped(store, record)) == 2


def test_two_rows_of_a_claim_become_one(tmp_path):
    store, record = filled(tmp_path / "lab", seeds=2)
    plain = parse_expectation(SENTENCE)
    late = plain.model_copy(update={"after_results": True})
    stamp(store, record, [plain])
    (before,) = stamped(store, record)
    both_forms(store, record, late)
    assert stamp(store, record, [late, plain, late]) == []
    (left,) = stamped(store, record)
    assert (left.expectation.after_results, left.late) == (True, True)
    assert left.written == before.written
    assert store.index.damage() == []


def test_a_file_with_both_forms_has_one_claim(tmp_path):
    store, record = filled(tmp_path / "lab", seeds=2)
    plain = parse_expectation(SENTENCE)
    late = plain.model_copy(update={"after_results": True})
    for _ in range(2):
        stamp(store, record, [plain, late])
    assert [each.expectation.after_results for each in stamped(store, record)] == [True]


def test_a_claim_that_is_there_is_not_unpacked_in_its_other_form(tmp_path):
    plain = parse_expectation(SENTENCE)
    stores = [filled(tmp_path / name, seeds=2) for name in ("a", "b")]
    for (store, record), each in zip(
        stores, (plain, plain.model_copy(update={"after_results": True})), strict=True
    ):
        stamp(store, record, [each])
    (here, record), (there, other) = stores
    transfer(there, here, [other], "last")
    assert len(stamped(here, record)) == 1
