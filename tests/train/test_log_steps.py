from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ablab.train.log_steps import last_logged, logs, next_logged

EVERY = st.one_of(st.integers(1, 500), st.just("log"))


@given(EVERY, st.integers(0, 5000))
def test_next_and_last_agree_with_what_is_logged(every, step):
    following = next_logged(step, every)
    assert following > step and logs(following, every)
    assert not any(logs(each, every) for each in range(step + 1, following))
    before = last_logged(step, every)
    assert before <= step and (before == 0 or logs(before, every))
    assert not any(logs(each, every) for each in range(before + 1, step + 1))


def test_log_is_dense_at_first_and_sparse_later():
    steps = [step for step in range(1, 257) if logs(step, "log")]
    assert steps[:31] == list(range(1, 32))
    assert [b - a for a, b in pairwise(steps)][31:48] == [2] * 16 + [4]
    assert sum(logs(step, "log") for step in range(1, 10_001)) == 163
