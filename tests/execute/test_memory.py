import resource
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from ablab.execute.memory import release_freed_memory, retain_freed_memory
import torch
if sys.argv[1] == "keep":
    retain_freed_memory()
def touch():
    torch.ones(32 * 2**20 // 4)
for _ in range(20):  # the allocator takes some rounds to settle
    touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if sys.argv[1] == "keep":
    release_freed_memory()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="settings of GNU's C library")
def test_freed_memory_is_used_again_without_page_faults():
    def faults(setting: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, setting], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    pages = 10 * 32 * 2**20 // resource.getpagesize()
    assert faults("default") > pages / 2
    assert faults("keep") < pages / 20
