"""Shared by all tests: temporary files in memory, modest threads, type checks if asked for."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2**31  # free, from which on the tests' files are kept in memory
PREFIX = "ablab-tests-"

# Compiled programs are the same whoever made them: worker processes share them, and on disk they
# are still there the next time, as are torch's precompiled headers.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"{PREFIX}programs")
)


def _memory_folder() -> Path | None:
    """A new folder in memory for tests' files, where a sync costs nothing; None without room."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        return None
    for left in MEMORY.glob(f"{PREFIX}[0-9]*"):  # by a process that was killed
        if not psutil.pid_exists(int(left.name.removeprefix(PREFIX).partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))


# The workers of pytest-xdist inherit the folder from the process that started them.
FOLDER = None if "PYTEST_XDIST_WORKER" in os.environ else _memory_folder()
if FOLDER is not None:
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(FOLDER)  # of tmp_path

# Tests run side by side: more threads than cores would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# Measured speeds change plans, so every test process begins with none.
os.environ["ABLAB_CACHE"] = tempfile.mkdtemp(prefix=PREFIX)

if os.environ.get("ABLAB_TYPE_CHECKS"):
    # Shapes and types of every call, which makes the calls slow: `make test-types`.
    from jaxtyping import install_import_hook

    _HOOK = install_import_hook(["ablab.model", "ablab.tasks", "ablab.train"], "beartype.beartype")

import pytest  # noqa: E402

if (DATA / "tinyshakespeare.txt").is_file():
    os.environ.setdefault("ABLAB_DATA", str(DATA))


def pytest_configure(config: pytest.Config) -> None:
    """Settings of torch and hypothesis, which take seconds to import, where tests run."""
    if config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # this process only starts the workers

    import hypothesis
    import torch

    hypothesis.settings.register_profile("ablab", deadline=None)  # machines are shared
    hypothesis.settings.load_profile("ablab")
    torch.set_num_threads(1)


def pytest_unconfigure() -> None:
    """Frees the memory; ``pytest --basetemp FOLDER`` keeps the tests' files."""
    shutil.rmtree(os.environ["ABLAB_CACHE"], ignore_errors=True)
    if FOLDER is not None:
        shutil.rmtree(FOLDER, ignore_errors=True)


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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder, the working directory; its modules are forgotten at the end."""
    from tests.users_code import Folder

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits within a second are seen
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    made = Folder(path)
    yield made
    made.forget()
    for name in [name for name in sys.modules if name.startswith("ablab_archived_")]:
        del sys.modules[name]
