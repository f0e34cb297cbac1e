"""A kernel is built once for all programs, computes the same in each, and is never another one."""

import gc
import json
import platform
from pathlib import Path

import pytest
import torch
from torch._inductor import config

from ablab.model import joint_kernels
from ablab.model.joint_kernels import JointKernels
from ablab.train import compiling, stored_programs
from ablab.train.compiling import CompileError, compile_program, load_program, traces_only
from ablab.train.stored_kernels import StoredKernels, stored_kernels

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux", reason="kernels are joined where their instructions are known"
)


def model(activation):
    """A function with a gradient: only some kernels depend on the activation."""

    def function(x, y):
        x = x.detach().requires_grad_()
        hidden = torch.nn.functional.layer_norm(x @ y, [y.shape[1]])
        out = torch.nn.functional.gelu((activation(hidden @ y) @ y).softmax(-1) @ y)
        (grad,) = torch.autograd.grad((out @ y).sin().mean(), x)
        return {"grad": grad, "out": out.detach()}

    return function


def inputs(rows):
    """Each test has its own number of rows, as torch keeps the modules that it has loaded."""
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(rows, 32, generator=draw), torch.randn(32, 32, generator=draw)]


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Starts with an empty cache."""

    def start(name):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / name))
        return tmp_path / name / "ablab" / "kernels"

    with config.patch({"cpp.vec_isa_ok": True}), pytest.MonkeyPatch.context() as patch:
        # What this fixture sets is no setting of the user's.
        patch.setattr("ablab.model.torch_internals.compiler_has_own_settings", lambda: False)
        yield start


@pytest.fixture
def built(monkeypatch):
    """The number of kernels that each program had to build."""
    counts, build = [], joint_kernels._built

    def count(kernels):
        counts.append(len(kernels))
        return build(kernels)

    monkeypatch.setattr(joint_kernels, "_built", count)
    return counts


def same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_only_new_kernels_are_built_and_compute_what_they_compute_alone(fresh, built):
    fresh("alone")
    alone = compile_program(model(torch.tanh), inputs(51))(inputs(51))
    folder = fresh("shared")
    compile_program(model(torch.sigmoid), inputs(51))
    every, other = built
    assert other == every and len(list(folder.iterdir())) == every
    found = compile_program(model(torch.tanh), inputs(51), "tanh")(inputs(51))
    assert 0 < built[2] <= 2 < every
    same(found, alone)
    same(load_program("tanh", inputs(51))(inputs(51)), alone)


def test_nothing_is_built_twice(fresh, built, monkeypatch):
    fresh("one")
    first = compile_program(model(torch.tanh), inputs(52))(inputs(52))
    monkeypatch.setattr("torch._inductor.codecache.CppPythonBindingsCodeCache.load_async", None)
    again = compile_program(model(torch.tanh), inputs(52))(inputs(52))
    assert built[1] == 0
    same(again, first)


def gone(record, tmp_path):
    Path(json.loads(record.read_text())["file"]).unlink()


def cut(record, tmp_path):
    record.write_text(record.read_text()[:-9])


def another(record, tmp_path):
    short = tmp_path / "short.so"
    short.write_bytes(b"\x7fELF")
    about = json.loads(record.read_text())
    record.write_text(json.dumps(about | {"file": str(short)}))


def unknown(record, tmp_path):
    about = json.loads(record.read_text())
    record.write_text(json.dumps(about | {"name": "kernel_99"}))


@pytest.mark.parametrize("damage", [gone, cut, another, unknown])
def test_what_is_damaged_is_built_again(fresh, tmp_path, damage):
    folder = fresh("damaged")
    kinds, source = ["float*"], "source"
    file = tmp_path / "kernels.so"
    compile_program(model(torch.sin), inputs(53))
    own = json.loads(next(folder.iterdir()).read_text())
    file.write_bytes(Path(own["file"]).read_bytes())
    stored = StoredKernels(tmp_path / "kernels", ["machine"])
    stored.store(kinds, source, str(file), own["name"])
    module, name = stored.find(kinds, source)
    assert callable(getattr(module, name))
    (record,) = (tmp_path / "kernels").iterdir()
    damage(record, tmp_path)
    assert stored.find(kinds, source) is None


def test_a_damaged_kernel_is_replaced_within_a_program(fresh, built):
    folder = fresh("replaced")
    first = compile_program(model(torch.cos), inputs(54))(inputs(54))
    for record in folder.iterdir():
        cut(record, None)
    same(compile_program(model(torch.cos), inputs(54))(inputs(54)), first)
    assert built[0] == built[1] > 2


def test_what_a_kernel_depends_on(tmp_path):
    stored = StoredKernels(tmp_path, ["machine"])
    file = stored._file(["float*"], "source")
    assert file != stored._file(["double*"], "source")
    assert file != stored._file(["float*"], "other source")
    assert file != StoredKernels(tmp_path, ["other machine"])._file(["float*"], "source")
    assert file == StoredKernels(tmp_path, ["machine"])._file(["float*"], "source")


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(stored_programs, "_SOURCE", "edited"),
        lambda patch: patch.setattr(stored_programs, "processor", lambda: "another one"),
        lambda patch: patch.setattr(torch, "__version__", "99"),
        lambda patch: patch.setattr(torch, "get_num_threads", lambda: 57),
        lambda patch: patch.setenv("CXX", "clang++"),
        lambda patch: patch.setattr(
            "torch._inductor.cpp_builder.get_compiler_version_info", lambda compiler: "g++ 99"
        ),
    ],
    ids=["source", "processor", "torch", "threads", "compiler", "its version"],
)
def test_what_all_kernels_depend_on(monkeypatch, change):
    before = stored_kernels()._file(["float*"], "source")
    change(monkeypatch)
    assert stored_kernels()._file(["float*"], "source") != before


def test_settings_of_torchs_compiler_that_a_program_changed_are_its_own():
    assert stored_kernels() is not None
    with config.patch({"max_autotune": True}):
        assert stored_kernels() is None


def test_a_folder_that_cannot_be_written_loses_no_program(fresh, monkeypatch):
    def fail(*_):
        raise OSError("read-only")

    fresh("read-only")
    monkeypatch.setattr("ablab.train.stored_kernels.write_text_atomically", fail)
    made = []

    def keep(*given):
        made.append(JointKernels(*given))
        return made[-1]

    monkeypatch.setattr("ablab.train.compiling.JointKernels", keep)
    found = compile_program(model(torch.exp), inputs(55))(inputs(55))
    torch.testing.assert_close(
        found["grad"], model(torch.exp)(*inputs(55))["grad"], rtol=1e-3, atol=2e-4
    )
    assert [each.failed for each in made] == [False]


def test_garbage_is_collected_again_after_compiling(monkeypatch):
    seen, compiled = [], compiling._compiled

    def look(*given):
        seen.append(gc.isenabled())
        return compiled(*given)

    monkeypatch.setattr(compiling, "_compiled", look)
    with traces_only():
        compile_program(model(torch.exp), inputs(56))
        with pytest.raises(CompileError):
            compile_program(lambda x, y: {"out": x @ x}, inputs(56))
        assert gc.isenabled()
        gc.disable()
        try:
            compile_program(model(torch.exp), inputs(56))
            assert not gc.isenabled()
        finally:
            gc.enable()
    assert seen == [False] * 3
