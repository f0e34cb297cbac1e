"""Programs are found by what defines them: in another process, bit for bit, and never wrongly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._inductor import config

from ablab.config import Problem
from ablab.config.files import WriteError
from ablab.model import joint_kernels
from ablab.model.torch_internals import programs_folder
from ablab.train import stored_programs
from ablab.train.compiling import CompileError, compile_program, load_program, traces_only


def function(x, y):
    """A loss with its gradient, several kernels and products of matrices."""
    x = x.detach().requires_grad_()
    out = torch.nn.functional.gelu(x @ y).softmax(-1).cumsum(0) @ y
    (grad,) = torch.autograd.grad(out.sin().sum(), x)
    return {"out": out.detach(), "grad": grad, "count": (out > 1).sum()}


def inputs(rows=37, columns=16, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    return [
        torch.randn(rows, columns, generator=draw).to(dtype),
        torch.randn(columns, columns, generator=draw).to(dtype),
    ]


def same(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache of programs."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    return tmp_path / "ablab" / "programs"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A cache with one program, defined as "a", and what it computes."""
    cache = tmp_path_factory.mktemp("programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
        results = compile_program(function, inputs(), "a")(inputs())
    return cache, results


@pytest.fixture
def found_in(stored, monkeypatch):
    """The program of the cache, as a later call finds it."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(stored[0]))
    return stored[1]


INPUTS = """
import torch
def inputs():
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(37, 16, generator=draw), torch.randn(16, 16, generator=draw)]
"""
ELSEWHERE = """
import sys
from ablab.train.compiling import load_program
program = load_program("a", inputs())
compilers = ("torch._inductor.", "torch._dynamo.")
print([name for name in sys.modules if name.startswith(compilers)])
torch.save(program(inputs()), sys.argv[1])
"""


def test_another_process_finds_it_without_torchs_compiler(found_in, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", INPUTS + ELSEWHERE, str(tmp_path / "found")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    same(torch.load(tmp_path / "found"), found_in)


def test_it_computes_the_same_for_other_values(found_in):
    program = load_program("a", inputs())
    other = [each * 0.3 - 0.1 for each in inputs()]
    same(program(list(other)), compile_program(function, inputs())(list(other)))


@pytest.mark.parametrize(
    "examples",
    [
        inputs(rows=38),
        inputs(dtype=torch.float64),
        [inputs()[0].T.contiguous().T, inputs()[1]],
        [*inputs(), torch.zeros(1)],
    ],
    ids=["shape", "dtype", "strides", "number"],
)
def test_other_inputs_have_other_programs(found_in, examples):
    assert load_program("a", inputs()) is not None
    assert load_program("a", examples) is None


def test_another_definition_or_none_is_another_program(found_in):
    assert load_program("b", inputs()) is None
    assert load_program(None, inputs()) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(stored_programs, "_SOURCE", "edited"),
        lambda patch: patch.setattr(stored_programs, "_SOURCE", None),
        lambda patch: patch.setattr(stored_programs, "processor", lambda: "another one"),
        lambda patch: patch.setattr(torch, "__version__", "99"),
        lambda patch: patch.setattr(torch, "get_num_threads", lambda: 57),
        lambda patch: patch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1"),
        lambda patch: patch.setenv("ATEN_CPU_CAPABILITY", "default"),
        lambda patch: patch.setattr(torch.version, "git_version", "another"),
        lambda patch: patch.setattr(torch, "get_default_dtype", lambda: torch.float64),
        lambda patch: patch.setattr(torch, "is_autocast_enabled", lambda device: True),
        lambda patch: patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True),
        lambda patch: patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False),
        lambda patch: patch.setattr(torch.backends.mkldnn, "enabled", False),
        lambda patch: patch.setattr(torch.backends.cuda, "flash_sdp_enabled", lambda: False),
    ],
    ids=[
        "source", "no source", "processor", "torch", "threads", "compiler", "capability", "commit",
        "dtype", "autocast", "deterministic", "filled", "mkldnn", "attention",
    ],
)  # fmt: skip
def test_what_else_determines_a_program(found_in, monkeypatch, change):
    assert load_program("a", inputs()) is not None
    change(monkeypatch)
    assert load_program("a", inputs()) is None


def test_settings_of_torchs_compiler_that_a_program_changed_are_its_own(found_in):
    with config.patch({"max_autotune": True}):
        assert load_program("a", inputs()) is None
    assert load_program("a", inputs()) is not None


def test_what_is_only_traced_is_not_loaded(found_in):
    with traces_only():
        assert load_program("a", inputs()) is None


def test_several_files_of_kernels_are_loaded_and_loaded_again(folder, monkeypatch):
    """Python takes one module of an extension for another that has the same name."""
    monkeypatch.setattr(joint_kernels, "_LARGE", 1000)
    examples = inputs(rows=43)
    expected = compile_program(function, examples, "a")(list(examples))
    (record,) = folder.iterdir()
    assert len(json.loads(record.read_text())["files"]) > 1
    programs = [load_program("a", examples) for _ in range(3)]
    for program in programs:
        same(program(list(examples)), expected)


def test_a_module_of_the_users_with_that_name_stays(found_in, monkeypatch):
    monkeypatch.setitem(sys.modules, "kernel", mine := object())
    assert load_program("a", inputs()) is not None
    assert sys.modules["kernel"] is mine


def test_without_a_folder_nothing_is_stored(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/proc/nothing/here")
    assert load_program("a", inputs()) is None
    with pytest.raises(CompileError):
        compile_program(function, inputs(), "a")


@pytest.mark.parametrize(
    ("products", "value", "found"),
    [
        (torch.backends.mkldnn.matmul, "bf16", False),
        (torch.backends.cuda.matmul, "tf32", True),  # after which torch's older way to ask fails
    ],
    ids=["of the CPU", "of a GPU"],
)
def test_the_precision_of_products(found_in, products, value, found):
    before = products.fp32_precision
    products.fp32_precision = value
    try:
        assert (load_program("a", inputs()) is not None) == found
    finally:
        products.fp32_precision = before


def test_nothing_is_stored_after_the_source_was_edited(folder, monkeypatch):
    monkeypatch.setattr(stored_programs, "_READ", 0.0)
    compile_program(function, inputs(rows=44), "a")
    assert not folder.exists()


def test_an_error_of_storing_loses_no_program(folder, monkeypatch):
    def fail(*_):
        raise RecursionError("deep")

    monkeypatch.setattr(stored_programs, "_without_kernels", fail)
    assert compile_program(function, inputs(rows=45), "a")(inputs(rows=45))["count"] >= 0


def test_an_error_that_passes_removes_no_program(found_in, monkeypatch):
    def fail(*_):
        raise OSError("too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(stored_programs, "file_digest", fail)
        assert load_program("a", inputs()) is None
    assert load_program("a", inputs()) is not None


def cut(record, tmp_path):
    record.write_text(record.read_text()[:-40])


def not_json(record, tmp_path):
    record.write_bytes(b"\xff\x00")


def without_kernels(record, tmp_path):
    stored = json.loads(record.read_text())
    (file,) = stored["files"]
    record.write_text(json.dumps(stored).replace(file, "/nowhere.so"))


def cut_kernels(record, tmp_path):
    stored = json.loads(record.read_text())
    (file,) = stored["files"]
    short = tmp_path / "short.so"
    short.write_bytes(Path(file).read_bytes()[:5000])
    record.write_text(json.dumps(stored).replace(file, str(short)))


@pytest.mark.parametrize("damage", [cut, not_json, without_kernels, cut_kernels])
def test_a_damaged_program_is_not_loaded(found_in, tmp_path, damage):
    record = stored_programs.address("a", inputs())
    content = record.read_bytes()
    damage(record, tmp_path)
    assert load_program("a", inputs()) is None and not record.exists()
    record.write_bytes(content)
    assert load_program("a", inputs()) is not None


AGAIN = """
import sys, torch
from ablab.train.compiling import compile_program, load_program
def function(x, y):
    return {"out": (x @ y).softmax(-1).sum(0)}
found = load_program("c", inputs())
program = found or compile_program(function, inputs(), "c")
print(found is not None)
torch.save(program(inputs()), sys.argv[1])
"""


def test_without_its_kernels_it_is_compiled_and_stored_again(folder, tmp_path):
    def run(name):
        done = subprocess.run(
            [sys.executable, "-c", INPUTS + AGAIN, str(tmp_path / name)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip(), torch.load(tmp_path / name)

    said, first = run("first")
    (record,) = folder.iterdir()
    for file in json.loads(record.read_text())["files"]:
        Path(file).unlink()
    assert said == "False"
    for expected in ("False", "True"):
        said, found = run("again")
        assert said == expected
        same(found, first)


def with_a_constant(x, y):
    return {"out": x @ y + torch.tensor([1.0, 2.0, 3.0, 4.0] * 4)}


def with_an_operation_of_torchs(x, y):
    return {"out": torch.linalg.qr(x @ y).R, "sorted": (x @ y).sort(-1).values}


@pytest.mark.parametrize(
    ("other", "kept"), [(with_a_constant, False), (with_an_operation_of_torchs, True)]
)
def test_code_of_another_form_is_left_out_or_right(folder, other, kept):
    expected = compile_program(other, inputs(), "d")(inputs())
    program = load_program("d", inputs())
    assert (program is not None) == kept
    if program is not None:
        same(program(inputs()), expected)


@pytest.mark.parametrize(
    ("edited", "kept"),
    [
        (lambda code: code, True),
        (lambda code: code.replace("extern_kernels.mm", "extern_kernels.other"), False),
        (lambda code: code.replace("cpp_fused_0(buf0)", "cpp_fused_1(buf0)"), False),
        (lambda code: code.replace("args.clear()", "unknown.clear()"), False),
        (lambda code: code.replace("args.clear()", "inductor_ops.clear(args)"), False),
        (lambda code: code.replace("args.clear()", "args.clear(); import os"), False),
        (lambda code: code.replace("args.clear()", "torch.ops.inductor.clear(args)"), False),
        (lambda code: code + "\nclass Another: pass\n", False),
        (lambda code: code + "\ntorch.set_flush_denormal(True)\n", False),
        (lambda code: code + "\nprepared = torch.zeros(3)\n", False),
        (lambda code: code + "\ndef helper(): pass\n", False),
        (lambda code: code + "\nif torch.cuda.is_available():\n    runner = None\n", False),
        (lambda code: code + "\nif __name__ == '__main__':\n    call([])\n", True),
    ],
    ids=[
        "as it is", "product", "kernel", "name", "operation", "import", "another operation",
        "class", "setting", "value", "function", "condition", "benchmark",
    ],
)  # fmt: skip
def test_only_code_of_the_known_form_is_stored(tmp_path, edited, kept):
    """torch may write other code one day: it is recognised, and not stored."""

    class Written:
        constants, mutated_input_idxs, inputs_to_check, torchbind_constants = {}, [], [], {}
        _wrap_compiled_regions, device_types = False, {"cpu"}
        source_code = edited(WRITTEN)

    file = tmp_path / "program.json"
    stored_programs.store(file, ["out"], Written, {"cpp_fused_0": (__file__, "kernel_0")})
    assert file.is_file() == kept


WRITTEN = """
import torch
from torch._inductor.async_compile import AsyncCompile
empty_strided_cpu = torch._C._dynamo.guards._empty_strided_cpu
async_compile = AsyncCompile()
cpp_fused_0 = async_compile.cpp_pybinding(['float*'], r'''source''')
async_compile.wait(globals())
del async_compile
class Runner:
    def __init__(self, partitions):
        self.partitions = partitions
    def call(self, args):
        x, y = args
        args.clear()
        buf0 = empty_strided_cpu((37, 16), (16, 1), torch.float32)
        extern_kernels.mm(x, y, out=buf0)
        cpp_fused_0(buf0)
        return (buf0, )
runner = Runner(partitions=[])
call = runner.call
"""


@pytest.mark.parametrize(
    "change",
    [{"constants": {"c": 1}}, {"mutated_input_idxs": [0]}, {"device_types": {"cpu", "cuda"}}],
)
def test_what_needs_more_than_its_code_is_not_stored(tmp_path, change):
    members = {
        "constants": {}, "mutated_input_idxs": [], "inputs_to_check": [], "torchbind_constants": {},
        "_wrap_compiled_regions": False, "device_types": {"cpu"}, "source_code": WRITTEN,
    }  # fmt: skip
    kernels = {"cpp_fused_0": (__file__, "kernel_0")}
    stored_programs.store(tmp_path / "a.json", ["out"], type("Written", (), members), kernels)
    stored_programs.store(tmp_path / "b.json", ["out"], type("W", (), members | change), kernels)
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_cache_that_cannot_be_written_changes_nothing(folder, monkeypatch):
    def full(*_):
        raise WriteError(Problem("no space left on device", given="a file", expected="space"))

    monkeypatch.setattr("ablab.config.files._write", full)
    expected = compile_program(function, inputs(39))(inputs(39))
    same(compile_program(function, inputs(39), "a")(inputs(39)), expected)
    assert load_program("a", inputs(39)) is None


def test_torchs_folder_is_the_one_that_torch_finds(monkeypatch, tmp_path):
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    assert str(programs_folder()) == cache_dir()
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    default = programs_folder()
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert str(default) == cache_dir() and default.parent == tmp_path
