"""Shared by all tests: shapes and types are checked at run time, data is found, torch is modest."""

import os
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

_HOOK = install_import_hook(["ablab.model", "ablab.tasks", "ablab.train"], "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

# Tests run side by side: threads that outnumber the cores wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# What is remembered of a machine's speed changes plans, so every test process begins without.
os.environ["ABLAB_CACHE"] = tempfile.mkdtemp(prefix="ablab-tests-")
# Compiled programs may be shared: they are the same whoever made them.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / "ablab-tests-programs")
)
torch.set_num_threads(1)
if (DATA / "tinyshakespeare.txt").is_file():
    os.environ.setdefault("ABLAB_DATA", str(DATA))


@pytest.fixture
def tinyshakespeare() -> str:
    """The corpus's name, where its file is on this machine."""
    from ablab.tasks.corpora import find_corpus

    if find_corpus("tinyshakespeare") is None:
        pytest.skip("tinyshakespeare is not on this machine (ablab data fetch tinyshakespeare)")
    return "tinyshakespeare"


@pytest.fixture
def tiny() -> dict[str, object]:
    """An experiment that trains in a moment: two widths, two seeds, 20 steps."""
    return {
        "name": "tiny",
        "question": "Does a tiny experiment run?",
        "task": {"kind": "addition", "n_digits": 2},
        "model": {"kind": "transformer", "d_model": 8, "n_heads": 2},
        "train": {
            "steps": 20,
            "batch_size": 16,
            "evaluate": {"every": 10, "samples": 32},
            "snapshots": {"every": 10},
        },
        "watch": {"every": 5},
        "grid": {"model.d_model": [8, 16]},
        "seeds": 2,
    }
