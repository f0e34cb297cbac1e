"""Several GPUs, as far as they can be seen without one."""

import pytest
import torch

from ablab.execute.device import device_count, free_memory, visible_device


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


def test_free_memory_is_that_of_the_device(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert 0 < free_memory(torch.device("cpu")) == pytest.approx(free_memory(cuda), rel=0.5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**30, 8 * 2**30))
    assert free_memory(cuda) == 3 * 2**30
