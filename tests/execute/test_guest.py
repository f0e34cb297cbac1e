"""A program that calls ablab finds its settings unchanged, also after an error."""

import ctypes
import os
import random
import sys

import numpy as np
import pytest
import torch

import ablab
from ablab.config import InputError
from ablab.execute.guest import as_guest
from ablab.execute.memory import retain_freed_memory, retains_freed_memory
from tests.execute.guest_state import changes, maps_large_blocks, state

ASKED = {
    "name": "guest",
    "question": "?",
    "task": {"kind": "addition", "n_digits": 1},
    "model": {"d_model": 4, "n_heads": 1},
    "train": {"steps": 4, "batch_size": 32, "evaluate": {"every": 4, "samples": 16}},
    "watch": {"every": 2},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A store; what is imported on the way is imported when it is there."""
    folder = tmp_path_factory.mktemp("guest") / "lab"
    ablab.run(ASKED, store=folder, quiet=True)
    run = ablab.open(folder).runs()[0].run
    ablab.open(folder).replay(run, (2, 3), watch=["grad/*/rms"])
    ablab.analyze(ablab.open(folder).run(run), "parameter_norms")
    ablab.doctor(ASKED, checks=["forward"])
    return ablab.open(folder)


@pytest.fixture
def own_settings(monkeypatch):
    """A program with settings of its own, none of which is the default."""
    for name in [name for name in os.environ if "TORCHINDUCTOR" in name]:
        monkeypatch.delenv(name)
    threads, precision = torch.get_num_threads(), torch.backends.cuda.matmul.fp32_precision
    torch.set_num_threads(3)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.fp32_precision = precision


CALLS = {
    "run": lambda lab, run: ablab.run(ASKED, "seeds=[1]", store=lab.store.path, quiet=True),
    "run, nothing left": lambda lab, run: ablab.run(ASKED, store=lab.store.path, quiet=True),
    "replay": lambda lab, run: lab.replay(run, (2, 3), watch=["grad/*/rms"]),
    "doctor": lambda lab, run: ablab.doctor(ASKED, checks=["forward", "stack"]),
    "analyze": lambda lab, run: ablab.analyze(lab.run(run), "parameter_norms"),
    "model": lambda lab, run: lab.run(run).model(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_changes_no_setting_of_the_process(lab, own_settings, name):
    run = lab.runs()[0].run
    before = state()
    CALLS[name](lab, run)
    assert changes(before, state()) == {}


@pytest.mark.compiled
def test_compiling_changes_none_either(lab, own_settings):
    ablab.run(ASKED, "seeds=[6]", store=lab.store.path, quiet=True, compile="on")  # imports
    before = state()
    ablab.run(ASKED, "seeds=[7]", store=lab.store.path, quiet=True, compile="on")
    assert changes(before, state()) == {}


def test_an_error_changes_none_either(lab, own_settings, monkeypatch):
    def fail(*_):
        raise RuntimeError("in the middle")

    before = state()
    monkeypatch.setattr("ablab.execute.orchestrate.make_executor", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        ablab.run(ASKED, "seeds=[3]", store=lab.store.path, quiet=True)
    with pytest.raises(InputError):
        lab.replay(lab.runs()[0].run, (2, 300))
    assert changes(before, state()) == {}


@pytest.mark.skipif(maps_large_blocks() is None, reason="not glibc 2.33 or later")
def test_the_allocator_keeps_memory_within_and_not_afterwards():
    with as_guest():
        retain_freed_memory()
        assert retains_freed_memory() and not maps_large_blocks()
    assert not retains_freed_memory() and maps_large_blocks()


@pytest.mark.skipif(maps_large_blocks() is None, reason="not glibc 2.33 or later")
def test_a_large_free_block_within_the_heap_does_not_look_like_kept_memory():
    """Of a program that freed much while memory was kept: what it asks for next may lie there."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    with as_guest():
        retain_freed_memory()
        large = library.malloc(200 * 2**20)
        above = [library.malloc(2**20) for _ in range(300)]  # some lie behind it
        library.free(large)
    mapped = maps_large_blocks()
    for block in above:
        library.free(block)
    assert mapped


def test_a_guest_within_a_guest_leaves_the_rest_to_the_outer_one():
    limit = sys.getrecursionlimit()
    with as_guest():
        retain_freed_memory()
        sys.setrecursionlimit(limit + 1000)
        with as_guest():
            os.environ["TRITON_CACHE_DIR"] = "/nowhere"
        assert "TRITON_CACHE_DIR" not in os.environ
        assert retains_freed_memory() and sys.getrecursionlimit() == limit + 1000
    assert sys.getrecursionlimit() == limit
