import mmap
import time

import psutil
import torch

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


def test_the_load_is_the_share_of_time_at_work():
    idle = Usage(CPU)
    time.sleep(0.2)
    assert idle.facts()["load"]["cpu"] < 0.5
    busy = Usage(CPU)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert 0 < busy.facts()["load"]["cpu"] <= 1.5
