"""Several GPUs, as far as they can be seen without one."""

import pytest
import torch

from ablab.execute.device import device_count, visible_device


def test_each_worker_sees_one_gpu_of_several(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = [visible_device(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert seen == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert visible_device(1) == {"CUDA_VISIBLE_DEVICES": "7"}
    assert device_count(torch.device("cuda")) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_one_gpu_or_none_is_left_as_it_is(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert visible_device(1) == {}
    assert device_count(torch.device("cuda")) == device_count(torch.device("cpu")) == 1
