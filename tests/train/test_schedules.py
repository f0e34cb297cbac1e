import math

import numpy as np
import pytest
import torch

from ablab.train.config import ScheduleConfig, TrainConfig
from ablab.train.method import STACK
from ablab.train.schedules import factors
from ablab.train.stack import Stack
from tests.helpers import make_run


def test_a_constant_schedule_is_one():
    assert factors(ScheduleConfig(), 10, 1, 20).tolist() == [1.0] * 20


def test_warm_up_reaches_one_at_its_last_step():
    found = factors(ScheduleConfig(warmup=4), 10, 1, 6)
    assert found.tolist() == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_warm_up_from_a_factor_is_that_of_torch():
    config = ScheduleConfig(kind="cosine", warmup=4, warmup_from=0.2)
    found = factors(config, 10, 1, 4)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=4)
    expected = []
    for _ in range(4):
        optimizer.step()
        scheduler.step()  # torch counts updates from 0, ablab from 1
        expected += scheduler.get_last_lr()
    np.testing.assert_allclose(found, expected)
    assert found[0] == pytest.approx(0.4)
    with pytest.raises(ValueError, match="warmup_from needs a warmup"):
        ScheduleConfig(warmup_from=0.1)


def test_a_line_from_one_to_its_final_factor():
    found = factors(ScheduleConfig(kind="linear", warmup=2, final=0.5), 10, 1, 12)
    assert found[1] == 1.0
    assert found[5] == pytest.approx(0.75)
    assert found[9:].tolist() == [0.5, 0.5, 0.5]


def test_half_a_cosine():
    found = factors(ScheduleConfig(kind="cosine", final=0.1), 100, 1, 100)
    assert found[49] == pytest.approx(0.1 + 0.9 * 0.5)
    assert found[24] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert found[99] == pytest.approx(0.1)


def test_factors_stay_between_zero_and_one_and_do_not_hang_on_where_one_starts():
    schedule = ScheduleConfig(kind="cosine", warmup=7)
    whole = factors(schedule, 50, 1, 80)
    assert ((whole >= 0) & (whole <= 1)).all()
    np.testing.assert_array_equal(whole[30:40], factors(schedule, 50, 31, 10))


def test_runs_of_a_stack_warm_up_from_factors_of_their_own():
    runs = [
        make_run(seed, schedule={"warmup": 4, "warmup_from": start})
        for seed, start in enumerate((0.0, 0.5))
    ]
    assert runs[0].stack_key == runs[1].stack_key
    lrs = Stack(runs, None, torch.device("cpu"), STACK).advance(4).lrs
    np.testing.assert_allclose(lrs[:, 0], [0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    np.testing.assert_allclose(lrs[:, 1], [0.625e-3, 0.75e-3, 0.875e-3, 1e-3])
    assert TrainConfig(schedule={"warmup": 4}).identity()["schedule"] == {
        "kind": "constant",
        "warmup": 4,
    }
