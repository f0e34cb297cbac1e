"""Building and loading the native function that reduces rows, and where there is none."""

import hashlib
import subprocess
import sys
from shutil import which

import pytest
import torch

from ablab.watching import native_rows
from ablab.watching.native_rows import NativeRows, native_reduce
from ablab.watching.rows import PARTS

pytestmark = pytest.mark.skipif(which("g++") is None, reason="no C++ compiler")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder of programs, and nothing loaded."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    native_reduce.cache_clear()
    yield tmp_path / "ablab" / "native"
    native_reduce.cache_clear()


def test_it_is_built_once(own_folder, monkeypatch):
    assert native_reduce() is not None
    (file,) = own_folder.glob("*.so")
    built = file.stat().st_mtime_ns
    monkeypatch.setattr(native_rows, "_build", None)
    native_reduce.cache_clear()
    assert native_reduce() is not None and file.stat().st_mtime_ns == built


def test_a_file_that_was_cut_is_built_again(own_folder):
    assert native_reduce() is not None
    (file,) = own_folder.glob("*.so")
    whole = file.read_bytes()
    file.unlink()  # the one that is loaded stays as it is
    file.write_bytes(whole[: len(whole) // 2])
    native_reduce.cache_clear()
    assert native_reduce() is not None
    assert [each.read_bytes() for each in own_folder.glob("*.so")] == [whole]


@pytest.mark.parametrize("compiler", ["", "g++ -O1", "env g++"])
def test_a_compiler_with_arguments(own_folder, monkeypatch, compiler):
    monkeypatch.setenv("CXX", compiler)
    assert native_reduce() is not None


def test_a_whole_file_that_cannot_be_loaded_is_built_again_by_the_next_process(own_folder):
    assert native_reduce() is not None
    (file,) = own_folder.glob("*.so")
    content = b"this is no library"
    digest = hashlib.sha256(content).hexdigest()[:32]
    bad = file.with_name(f"{file.stem.rpartition('-')[0]}-{digest}.so")
    file.rename(bad)
    bad.unlink()
    bad.write_bytes(content)
    native_reduce.cache_clear()
    assert native_reduce() is None and not bad.exists()
    native_reduce.cache_clear()
    assert native_reduce() is not None


def test_another_default_device_does_no_harm(own_folder):
    torch.set_default_device("meta")
    try:
        assert native_reduce() is not None
        x = torch.ones(2, 30, 24, device="cpu")
        sums = NativeRows(native_reduce()).reduce(x, frozenset(PARTS))["sums"]
    finally:
        torch.set_default_device(None)
    assert sums.is_cpu and float(sums[0, 0, 8]) == 30


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_there_is_none(own_folder, monkeypatch, compiler):
    monkeypatch.setenv("CXX", compiler)
    assert native_reduce() is None
    assert not list(own_folder.glob("*.so"))


def test_in_a_folder_that_cannot_be_made_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file"))
    native_reduce.cache_clear()
    assert native_reduce() is None
    native_reduce.cache_clear()


FAULTS = {
    "blocks are lost": ("sums.total += more.total;", "sums.total = more.total;"),
    "what is hidden counts": ("return hides ? x <=", "return !hides ? x <="),
    "entropies are negative": ("entropy_total -=", "entropy_total +="),
    "the sum of norms": ("sums.squares += norm * norm;", "sums.squares += norm;"),
    "signs in double precision": ("magnitude = 0x7fffffffffffffff", "magnitude = -1"),
    "NaN is no number": ("is_nan |= norm != norm;", ""),
    "products": ("Doubles::load(a + i) * Doubles::load(b + i)", "Doubles::load(a + i)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_function_that_gives_something_else_is_not_used(own_folder, tmp_path, monkeypatch, fault):
    wrong = tmp_path / "wrong.cpp"
    source = native_rows._SOURCE.read_text()
    assert FAULTS[fault][0] in source
    wrong.write_text(source.replace(*FAULTS[fault]))
    monkeypatch.setattr(native_rows, "_SOURCE", wrong)
    assert native_reduce() is None


def test_two_processes_build_it_at_once(own_folder):
    code = (
        "from ablab.watching.native_rows import native_reduce; print(native_reduce() is not None)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [each.communicate()[0].decode().strip() for each in both] == ["True", "True"]
    assert len(list(own_folder.glob("*.so"))) == 1
