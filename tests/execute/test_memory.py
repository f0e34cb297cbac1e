import resource
import subprocess
import sys

import pytest

_PROGRAM = """
import resource
from ablab.execute.memory import release_freed_memory, retain_freed_memory
import torch
def touch():
    torch.ones(32 * 2**20 // 4)
def faults():
    for _ in range(20):  # the allocator takes some rounds to settle
        touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        touch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
retain_freed_memory()
print(faults())
release_freed_memory()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="settings of GNU's C library")
def test_freed_memory_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True)
    default, kept = map(int, done.stdout.split())
    pages = 10 * 32 * 2**20 // resource.getpagesize()
    assert default > pages / 2
    assert kept < pages / 20
