"""Compiled programs by what defines them: a later command neither traces nor loads a compiler.

torch's own cache is asked with a graph, so a program has to be traced (1 to 2 s) by the modules of
torch's compiler (1 s) before it is found. Here, a program is stored with a digest of everything
that determines it: a definition by its caller, the layout of its inputs, ablab's source, torch, the
processor and the settings. What is stored is the Python code that torch's compiler wrote, without
its C++ kernels, and the names and digests of the files that were built from them. Only code of a
known form is stored, on CPUs; all else is traced as before.
"""

import ast
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ablab.config.files import write_text_atomically
from ablab.model import torch_internals

_EDITION = "1"
_ROOMS = ("config", "model", "tasks", "train", "watching")  # whose source defines programs
_VARIABLES = ("TORCH", "ATEN_", "CXX")  # of the environment
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
# torch's operations that programs call by these names of its compiler's, with the result given.
_PRODUCTS = {
    "bmm": torch.bmm, "mm": torch.mm, "addmm": torch.addmm, "baddbmm": torch.baddbmm,
}  # fmt: skip
_KNOWN = {"torch": torch, "extern_kernels": SimpleNamespace(**_PRODUCTS)}

_ROOT = Path(__file__).parent.parent
_MODULES: dict[str, Any] = {}  # loaded kernels, by the digest of their file
_TURN = Lock()

Call = Callable[[list[Tensor]], Sequence[Tensor]]


class UnknownFormError(Exception):
    """The code of a program has another form than expected."""


def are_shipped(*parts: Any) -> bool:
    """Whether classes and functions are defined in files that are part of the digest, or torch's.

    Those of a user are not, by whatever way they came to be used.
    """
    names = (getattr(each, "__module__", None) for each in parts)
    files = (getattr(sys.modules.get(name or ""), "__file__", None) for name in names)
    return all(file is not None and _is_known(file) for file in files)


@cache
def _is_known(file: str) -> bool:
    path = Path(file).resolve()
    roots = [*(_ROOT / room for room in _ROOMS), Path(torch.__file__).parent]
    return any(path.is_relative_to(root.resolve()) for root in roots)


def address(definition: str, examples: Sequence[Tensor]) -> Path | None:
    """The file of a program; None where programs are not stored.

    Args:
        definition: Determines the function, given ablab's source.
        examples: Tensors like its inputs.
    """
    try:
        return _address(definition, examples)
    except Exception:  # a part of torch is missing, or its folder cannot be made
        return None


def _address(definition: str, examples: Sequence[Tensor]) -> Path | None:
    if any(each.device.type != "cpu" for each in examples):
        return None
    about = surroundings()
    if about is None:
        return None
    layouts = [f"{tuple(each.shape)} {each.stride()} {each.dtype}" for each in examples]
    parts = [_EDITION, definition, layouts, *about]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return folder() / "programs" / f"{digest}.json"


def folder() -> Path:
    """The folder of what ablab itself keeps of compiled programs."""
    return torch_internals.programs_folder() / "ablab"


def surroundings() -> list[Any] | None:
    """What programs and their kernels depend on beside their own definition.

    None where they are not stored: settings of torch's compiler were changed, or ablab's source is
    not in files.
    """
    if _SOURCE is None or torch_internals.compiler_has_own_settings():
        return None
    return [_process(), _SOURCE, processor()]


def load(file: Path) -> tuple[tuple[str, ...], Call] | None:
    """A stored program: the names of its results, and its call. None if it cannot be loaded."""
    try:
        if not file.is_file():
            return None
        stored = json.loads(file.read_text(encoding="utf-8"))
        kernels = stored["kernels"]
        modules = {each: kernel_module(each, digest) for each, digest in stored["files"].items()}
        scope: dict[str, Any] = dict(_KNOWN)
        for name, (built, own) in kernels.items():
            scope[name] = getattr(modules[built], own)
        exec(compile(stored["code"], str(file), "exec"), scope)
        return tuple(stored["names"]), scope["call"]
    except (KeyError, TypeError, ValueError, SyntaxError, FileNotFoundError):
        with suppress(OSError):  # it was cut, or its kernels are gone: it is compiled again
            file.unlink()
        return None
    except Exception:
        return None


def store(
    file: Path, names: Sequence[str], program: Any, kernels: Mapping[str, tuple[str, str]]
) -> None:
    """Stores a program, if its code has a known form and the folder can be written.

    Args:
        file: Its :func:`address`.
        names: The names of its results.
        program: What torch's compiler returned.
        kernels: By its name in the program's code, each kernel's file and its name there.
    """
    with suppress(Exception):  # the program is there; what cannot be stored is compiled again
        if _was_edited():
            return
        code = _without_kernels(_plain_source(program), kernels)
        files = {each: file_digest(each) for each, _ in kernels.values()}
        stored = {"names": names, "code": code, "kernels": dict(kernels), "files": files}
        write_text_atomically(file, json.dumps(stored))


def file_digest(file: str) -> str:
    """The digest of a file of kernels."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def kernel_module(file: str, digest: str) -> Any:
    """The module of a file, which is loaded once, and only if it is whole.

    A file that was cut would end the process.
    """
    if file_digest(file) != digest:
        raise ValueError(f"{file} has changed")
    with _TURN:
        if digest not in _MODULES:
            _MODULES[digest] = torch_internals.load_kernels(file, f"ablab_{digest}")
        return _MODULES[digest]


def _plain_source(program: Any) -> str:
    """The source of a program that needs nothing but its code."""
    others = (
        program.constants, program.mutated_input_idxs, program.inputs_to_check,
        program.torchbind_constants, program._wrap_compiled_regions,
    )  # fmt: skip
    if any(others) or program.device_types != {"cpu"}:
        raise UnknownFormError
    return str(program.source_code)


def _without_kernels(source: str, kernels: Mapping[str, tuple[str, str]]) -> str:
    """The code of a program without what its compiler adds: imports, kernels and a benchmark.

    Raises:
        UnknownFormError: Something else remains than assignments of names of torch's, and the class
            whose method is the program.
    """
    program: list[ast.stmt] = []
    others: list[Any] = []
    for each in ast.parse(source).body:
        match each:
            case ast.ClassDef():
                program.append(each)
            case ast.Assign(targets=[ast.Name()], value=ast.Attribute()):
                others.append(each)
            case ast.Assign(targets=[ast.Name()], value=ast.Call(ast.Name("Runner"))):
                others.append(each)
            case _ if not _is_left_out(each):
                raise UnknownFormError
    if len(program) != 1:
        raise UnknownFormError
    used = {node.id for node in ast.walk(program[0]) if isinstance(node, ast.Name)}
    ends = ("runner", "call")
    named = {each.targets[0].id: each for each in others}
    begin = [each for name, each in named.items() if name in used and name not in ends]
    code = ast.Module([*begin, *program, *(named[name] for name in ends)], [])
    _check_names(code, kernels)
    return ast.unparse(code)


def _is_left_out(statement: ast.stmt) -> bool:
    """Whether a statement imports, builds kernels, or is part of the benchmark of a program."""
    match statement:
        case ast.Assign(value=ast.Call(called)) | ast.Expr(ast.Call(called)):
            return ast.unparse(called).startswith(("async_compile.", "AsyncCompile"))
        case ast.Delete(targets=[ast.Name(name)]):
            return name == "async_compile"
        case ast.If(test):
            return ast.unparse(test) == "__name__ == '__main__'"
        case ast.FunctionDef(name):
            return name in ("get_args", "benchmark_compiled_module")
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _check_names(code: ast.Module, kernels: Mapping[str, tuple[str, str]]) -> None:
    """Raises if code uses a name that is not known when it is loaded."""
    names = [node for node in ast.walk(code) if isinstance(node, ast.Name)]
    set_here = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    set_here |= {node.name for node in ast.walk(code) if isinstance(node, ast.ClassDef)}
    set_here |= {node.arg for node in ast.walk(code) if isinstance(node, ast.arg)}
    builtins = vars(sys.modules["builtins"])
    if not {node.id for node in names} <= {*set_here, *kernels, *_KNOWN, *builtins}:
        raise UnknownFormError
    for node in ast.walk(code):
        if isinstance(node, ast.Import | ast.ImportFrom):
            raise UnknownFormError
        if isinstance(node, ast.Attribute) and not _is_there(ast.unparse(node)):
            raise UnknownFormError


def _is_there(name: str) -> bool:
    """Whether a dotted name is one of torch itself: its compiler's modules define others."""
    if name.startswith("extern_kernels."):
        return name.removeprefix("extern_kernels.") in _PRODUCTS
    if name.startswith("torch.ops."):
        return (name + ".").startswith(("torch.ops.aten.", "torch.ops.mkldnn."))
    return not name.startswith("inductor_ops.")


def _process() -> list[str]:
    """Settings of the process that programs depend on."""
    names = sorted(name for name in os.environ if name.startswith(_VARIABLES) and name != _FOLDER)
    utils: Any = torch.utils
    backends: Any = torch.backends
    settings = [
        torch.get_num_threads(), torch.get_default_dtype(), torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        utils.deterministic.fill_uninitialized_memory,
        backends.fp32_precision, backends.mkldnn.matmul.fp32_precision, backends.mkldnn.enabled,
        # The kernels of attention, on CPUs too.
        backends.cuda.flash_sdp_enabled(), backends.cuda.math_sdp_enabled(),
        backends.cuda.mem_efficient_sdp_enabled(),
    ]  # fmt: skip
    versions = [torch.__version__, str(torch.version.git_version), sys.version]
    return [*versions, *(f"{name}={os.environ[name]}" for name in names), *map(str, settings)]


def _files() -> list[Path]:
    return [file for room in _ROOMS for file in sorted((_ROOT / room).rglob("*.py"))]


def _source_digest() -> str | None:
    """The digest of ablab's source; None if it is not in files."""
    files = _files()
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(f"{file.relative_to(_ROOT)}\0".encode() + file.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest() if files else None


_SOURCE, _READ = _source_digest(), time.time()  # of what is loaded: it may be edited later


def _was_edited() -> bool:
    """Whether source has changed since its digest was taken; modules are loaded when used."""
    return any(file.stat().st_mtime > _READ for file in _files())


@cache
def processor() -> str:
    """The processor's kind and instructions, for which kernels are built."""
    parts = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
        chosen = ("model name", "flags", "Features", "CPU part")
        parts += [line for line in first.splitlines() if line.startswith(chosen)]
    return "\n".join(parts)
