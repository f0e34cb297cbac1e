import mmap
from types import SimpleNamespace

import psutil
import torch

from ablab.execute import usage
from ablab.execute.usage import Usage, peak_memory

CPU = torch.device("cpu")


def test_the_peak_is_that_of_the_process():
    before, now = peak_memory(), psutil.Process().memory_info().rss
    assert before > 0.9 * now
    size = max(0, before - now) + 2**27
    with mmap.mmap(-1, size) as block:  # above the peak, and gone again
        for page in range(0, size, mmap.PAGESIZE):
            block[page] = 1
    assert peak_memory() > before + 2**26
    assert Usage(CPU).facts()["memory"] == peak_memory()


def test_the_load_is_the_share_of_time_at_work(monkeypatch):
    now = {"elapsed": 100.0, "busy": 7.0}
    clocks = SimpleNamespace(perf_counter=lambda: now["elapsed"], process_time=lambda: now["busy"])
    monkeypatch.setattr(usage, "time", clocks)
    found = Usage(CPU)
    now["elapsed"] += 4.0
    assert found.facts()["load"] == {"cpu": 0.0}
    now["busy"] += 6.0  # seconds of all cores together
    assert found.facts()["load"] == {"cpu": 1.5}
    now["elapsed"] += 8.0
    assert found.facts()["load"] == {"cpu": 0.5}
