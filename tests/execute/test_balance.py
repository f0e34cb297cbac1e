import pytest

from ablab.execute.balance import WorkItem, balance, makespan, stagger


def pieces(*runs, divisible=True, once=0.0):
    return [WorkItem(number, each, 1.0, once, divisible) for number, each in enumerate(runs)]


def span(found, workers):
    return makespan(sorted((each.seconds for each in found), reverse=True), workers)


def test_work_is_taken_in_order_by_who_is_free():
    assert makespan([3.0, 1.0, 1.0, 2.0], 2) == 4.0
    assert makespan([2.0, 1.0], 3) == 2.0


@pytest.mark.parametrize(
    ("runs", "workers", "before", "after"),
    [((6, 6, 3), 2, 9, 8), ((8,) * 5, 4, 16, 10), ((8,) * 20, 16, 16, 10), ((5,), 2, 5, 3)],
)
def test_pieces_are_cut_so_that_processes_end_together(runs, workers, before, after):
    found = pieces(*runs)
    assert span(found, workers) == before
    cut = balance(found, workers)
    assert span(cut, workers) == after
    assert [sum(e.runs for e in cut if e.group == group) for group in range(len(runs))] == [*runs]


def test_what_cannot_be_cut_or_is_level_stays_whole():
    for found in (pieces(6, 6, 3, divisible=False), pieces(4, 4), pieces(1, 1, 1)):
        assert balance(found, 2) == found
    assert balance(pieces(6, 6, 3), 1) == pieces(6, 6, 3)


def test_a_process_compiles_a_groups_program_once():
    # Four runs and four to compile for: in two processes eight seconds, in any number of pieces.
    whole = [WorkItem(0, 4, 1.0, 4.0, True), WorkItem(1, 1, 8.0)]
    assert balance(whole, 2) == whole
    idle = [WorkItem(0, 8, 1.0, 4.0, True)]
    assert [piece.runs for piece in balance(idle, 2)] == [4, 4]
    parts = [
        WorkItem(0, 3, 1.0, 4.0, True),
        WorkItem(0, 3, 1.0, 4.0, True),
        WorkItem(0, 2, 1.0, 4.0, True),
    ]
    assert span(parts, 2) == 13  # by what each takes alone
    assert [piece.runs for piece in balance(parts, 2)] == [2, 1, 3, 2]  # 4 + 4 in either process


def test_a_gain_of_little_is_not_worth_more_pieces():
    assert len(balance(pieces(3, 3, 3), 2)) == 4
    dear = pieces(3, 3, 3, once=20.0)  # 45 seconds in four pieces, 46 in three
    assert balance(dear, 2) == dear


def staggered(items, workers):
    found = stagger([each[1] for each in items], [(each[0], each[2]) for each in items], workers)
    return "".join(items[place][0] for place in found)


def test_no_process_takes_what_another_one_is_compiling():
    stacks = [("a", 9.0, 5.0), ("a", 9.0, 5.0), ("b", 8.0, 5.0), ("b", 8.0, 5.0)]
    assert staggered(stacks, 2) == "abab"  # at 8 s, when a process is free, "a" is compiled
    assert staggered(stacks, 1) == "aabb"
    assert staggered(stacks, 3) == "abab"  # for the third process, nothing else is left
    assert staggered([("a", 9.0, 5.0)] * 3, 2) == "aaa"
    short_first = [("a", 1.0, 0.5), ("a", 1.0, 0.5), ("b", 2.0, 0.5), ("c", 3.0, 0.5)]
    assert staggered(short_first, 2) == "abac"


def test_what_compiles_nothing_keeps_its_order():
    eager = [("a", 9.0, 0.0), ("a", 9.0, 0.0), ("b", 8.0, 0.0)]
    assert staggered(eager, 2) == "aab"


def test_what_is_done_already_blocks_nothing():
    done = [("a", 0.0, 20.0), ("b", 0.0, 20.0)]
    left = [("a", 30.0, 20.0)] * 3 + [("b", 30.0, 20.0)] * 3
    assert staggered(done + left, 2) == "abaabb" + "ab"
