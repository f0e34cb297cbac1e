"""Compiled programs by what defines them: a later command neither traces nor loads a compiler.

torch's own cache is asked with a graph, so a program has to be traced (1 to 2 s) by the modules of
torch's compiler (1 s) before it is found. Here, a program is stored with a digest of everything
that determines it: a definition by its caller, the layout of its inputs, ablab's source, torch, the
processor and the settings. What is stored is the Python code that torch's compiler wrote, without
its C++ kernels, and the names of the files that were built from them. Only code of a known form is
stored, on CPUs; all else is traced as before.
"""

import ast
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ablab.config import InputError
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

Call = Callable[[list[Tensor]], Sequence[Tensor]]


class UnknownFormError(Exception):
    """The code of a program has another form than expected."""


def address(definition: str, examples: Sequence[Tensor]) -> Path | None:
    """The file of a program; None where programs are not stored.

    Args:
        definition: Determines the function, given ablab's source.
        examples: Tensors like its inputs.
    """
    if any(each.device.type != "cpu" for each in examples):
        return None
    if _SOURCE is None or torch_internals.compiler_has_own_settings():
        return None
    layouts = [f"{tuple(each.shape)} {each.stride()} {each.dtype}" for each in examples]
    parts = [_EDITION, definition, layouts, _process(), _SOURCE, _processor()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return torch_internals.programs_folder() / "ablab" / "programs" / f"{digest}.json"


def load(file: Path) -> tuple[tuple[str, ...], Call] | None:
    """A stored program: the names of its results, and its call. None if it cannot be loaded."""
    if not file.is_file():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        kernels = stored["kernels"]
        modules = {each: _loaded(each, digest) for each, digest in stored["files"].items()}
        scope: dict[str, Any] = dict(_KNOWN)
        for name, (built, own) in kernels.items():
            scope[name] = getattr(modules[built], own)
        exec(compile(stored["code"], str(file), "exec"), scope)
        return tuple(stored["names"]), scope["call"]
    except Exception:  # its kernels are gone, or it was cut: the program is compiled again
        with suppress(OSError):
            file.unlink()
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
    with suppress(UnknownFormError, AttributeError, OSError, InputError):
        code = _without_kernels(_plain_source(program), kernels)
        files = {each: _file_digest(each) for each, _ in kernels.values()}
        stored = {"names": names, "code": code, "kernels": dict(kernels), "files": files}
        write_text_atomically(file, json.dumps(stored))


def _file_digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _loaded(file: str, digest: str) -> Any:
    """The module of a file, if it is whole: one that was cut would end the process."""
    if _file_digest(file) != digest:
        raise ValueError(f"{file} has changed")
    return torch_internals.load_kernels(file)


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
    body = ast.parse(source).body
    program = [each for each in body if isinstance(each, ast.ClassDef)]
    if len(program) != 1:
        raise UnknownFormError
    used = {node.id for node in ast.walk(program[0]) if isinstance(node, ast.Name)}
    named: list[ast.stmt] = []
    ends: list[ast.stmt] = []
    for each in body:
        match each:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Attribute()) if name in used:
                named.append(each)
            case ast.Assign(targets=[ast.Name("runner" | "call")]):
                ends.append(each)
    code = ast.Module([*named, *program, *ends], [])
    _check_names(code, kernels)
    return ast.unparse(code)


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
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id == "extern_kernels" and node.attr not in _PRODUCTS:
            raise UnknownFormError
        if node.value.id == "inductor_ops":  # some are defined by the compiler's modules
            raise UnknownFormError


def _process() -> list[str]:
    """Settings of the process that programs depend on."""
    names = sorted(name for name in os.environ if name.startswith(_VARIABLES) and name != _FOLDER)
    return [
        torch.__version__, str(torch.version.git_version), sys.version,
        *(f"{name}={os.environ[name]}" for name in names),
        str(torch.get_num_threads()), str(torch.get_default_dtype()),
        torch.get_float32_matmul_precision(),
        str(torch.are_deterministic_algorithms_enabled()), str(torch.backends.mkldnn.enabled),
        str(torch.is_autocast_enabled("cpu")),
    ]  # fmt: skip


def _source_digest() -> str | None:
    """The digest of ablab's source; None if it is not in files."""
    root = Path(__file__).parent.parent
    files = [file for room in _ROOMS for file in sorted((root / room).rglob("*.py"))]
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest() if files else None


_SOURCE = _source_digest()  # when it is loaded; later it may be edited


@lru_cache(maxsize=1)
def _processor() -> str:
    """The processor's kind and instructions, for which kernels are built."""
    parts = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
        chosen = ("model name", "flags", "Features", "CPU part")
        parts += [line for line in first.splitlines() if line.startswith(chosen)]
    return "\n".join(parts)
