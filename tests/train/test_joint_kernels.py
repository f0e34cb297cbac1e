"""Kernels in one file compute what torch's own compute, bit for bit, and are built once."""

import pytest
import torch
from torch._inductor import config, cpu_vec_isa
from torch._inductor.async_compile import AsyncCompile

from ablab.model import joint_kernels
from ablab.model.joint_kernels import JointKernels
from ablab.model.torch_internals import TorchInternalsError
from ablab.train.compiling import compile_program

CLOSE = {"rtol": 1e-3, "atol": 2e-4}


def function(x, y):
    """Several kernels: products of matrices stand between element-wise operations."""
    x = x.detach().requires_grad_()
    hidden = torch.nn.functional.gelu(x @ y).softmax(-1)
    out = torch.nn.functional.layer_norm(hidden @ y, [y.shape[1]]).exp() + torch.arange(32) // 3
    loss = (out.cumsum(0) @ y).sin().mean()
    (grad,) = torch.autograd.grad(loss, x)
    return {"loss": loss.detach(), "grad": grad, "count": (out > 1).sum()}


def inputs(rows, dtype=torch.float32):
    """Each test has its own number of rows, as torch keeps the modules that it has loaded."""
    draw = torch.Generator().manual_seed(1)
    return [
        torch.randn(rows, 32, generator=draw).to(dtype),
        torch.randn(32, 32, generator=draw).to(dtype),
    ]


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Starts with an empty cache of programs, and tells how many files of kernels are built."""

    def start(name):
        folder = tmp_path / name
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        return lambda: len(list(folder.rglob("*.main.so")))

    # torch's own way tries vector instructions for ten seconds; this is the longest part of it.
    with config.patch({"cpp.vec_isa_ok": True}):
        yield start


@pytest.fixture
def torchs_own(monkeypatch):
    """Lets torch build kernels in its own way."""

    def use():
        monkeypatch.setattr(JointKernels, "__enter__", lambda self: self)

    return use


@pytest.mark.parametrize(("rows", "dtype"), [(41, torch.float32), (48, torch.bfloat16)])
def test_one_file_computes_what_torchs_own_compute(fresh, torchs_own, rows, dtype):
    one = fresh("one")
    joint = compile_program(function, inputs(rows, dtype))(inputs(rows, dtype))
    assert one() == 1
    torchs_own()
    many = fresh("many")
    alone = compile_program(function, inputs(rows, dtype))(inputs(rows, dtype))
    assert many() > 3
    assert joint.keys() == alone.keys()
    for name, tensor in joint.items():
        assert torch.equal(tensor, alone[name]), name
    close = CLOSE if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(joint["loss"], function(*inputs(rows, dtype))["loss"], **close)


def test_a_stored_program_is_not_built_again(fresh, monkeypatch):
    one = fresh("one")
    first = compile_program(function, inputs(43))(inputs(43))
    built = []
    monkeypatch.setattr(
        "torch._inductor.cpp_builder.CppBuilder.build", lambda self: built.append(self)
    )
    again = compile_program(function, inputs(43))(inputs(43))
    assert torch.equal(first["grad"], again["grad"])
    assert one() == 1 and len(built) <= 2  # the headers are looked at


def test_without_openssl_no_headers_are_precompiled(fresh, monkeypatch):
    monkeypatch.setattr("ablab.train.compiling.which", lambda name: None)
    monkeypatch.setattr("torch._inductor.codecache._precompile_header", None)  # calling it fails
    one = fresh("one")
    found = compile_program(function, inputs(49))(inputs(49))
    assert one() == 1
    torch.testing.assert_close(found["grad"], function(*inputs(49))["grad"], **CLOSE)


def test_large_programs_are_several_files(fresh, monkeypatch):
    monkeypatch.setattr(joint_kernels, "_LARGE", 2000)
    several = fresh("several")
    found = compile_program(function, inputs(44))(inputs(44))
    assert several() > 1
    torch.testing.assert_close(found["grad"], function(*inputs(44))["grad"], **CLOSE)


def test_what_cannot_be_built_as_one_file_is_built_by_torch(fresh, monkeypatch):
    monkeypatch.setattr(joint_kernels, "_BEGIN", "this is no C++")
    several = fresh("several")
    found = compile_program(function, inputs(45))(inputs(45))
    assert several() > 3
    torch.testing.assert_close(found["grad"], function(*inputs(45))["grad"], **CLOSE)


@pytest.mark.parametrize("part", ["kernel_compiler", "instruction_sets"])
def test_without_a_part_of_torch_its_own_way_is_taken(fresh, monkeypatch, part):
    def missing():
        raise TorchInternalsError("it is missing")

    monkeypatch.setattr(f"ablab.model.torch_internals.{part}", missing)
    fresh(part)
    found = compile_program(function, inputs(47))(inputs(47))
    torch.testing.assert_close(found["grad"], function(*inputs(47))["grad"], **CLOSE)


def test_kernels_that_look_different_are_left_to_torch(monkeypatch):
    seen = []
    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda self, *given: seen.append(given))
    plain = f'{joint_kernels._HEADER}\nextern "C"  void  kernel(float* out)\n{{}}'
    with JointKernels():
        compiler = AsyncCompile()
        for kinds, source in (
            (["float*", "std::string"], plain),
            (["float*"], plain.replace("void", "int")),
            (["float*"], f"{plain}\n{plain}"),
            (["float*"], plain.replace("extern", "static int x;\nextern", 1)),
        ):
            compiler.cpp_pybinding(kinds, source)
        assert len(seen) == 4
        compiler.cpp_pybinding(["const float*", "int64_t"], plain)
        assert len(seen) == 4


def test_torch_is_as_it_was_afterwards():
    before = AsyncCompile.cpp_pybinding, AsyncCompile.wait, cpu_vec_isa.valid_vec_isa_list
    with pytest.raises(ValueError, match="no"), JointKernels():
        assert AsyncCompile.wait is not before[1]
        raise ValueError("no")
    assert (AsyncCompile.cpp_pybinding, AsyncCompile.wait, cpu_vec_isa.valid_vec_isa_list) == before


def test_the_instructions_that_are_not_tried_work():
    """torch tries them with a program of its own; so does this test."""
    for each in joint_kernels._widest(cpu_vec_isa):
        (torchs,) = (own for own in cpu_vec_isa.supported_vec_isa_list if str(own) == str(each))
        assert bool(torchs) and bool(each)
        assert each.build_arch_flags() == type(torchs)().build_arch_flags()
