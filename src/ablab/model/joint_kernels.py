"""The kernels of a compiled program as one C++ file, instead of one file each.

torch's compiler writes about twenty C++ files for a program of one block and builds each by itself;
most of that time, the same headers are read. Before the first of them it builds ten small programs
to learn which vector instructions can be used. Within :class:`JointKernels`, the kernels of a
program become one file, and the widest vectors that the processor has are used without trying; all
else that it has is part of the builds anyway (``-march=native``). Whatever does not look as
expected is left to torch.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from functools import cache
from threading import RLock, Thread
from typing import Any, Protocol, runtime_checkable

from ablab.model import torch_internals
from ablab.model.torch_internals import TorchInternalsError, as_private

_LARGE = 400_000  # characters of a file; more kernels are built as several files, at the same time
_HEADER = "#include <torch/csrc/inductor/cpp_prefix.h>"
_KERNEL = re.compile(rf'\s*{re.escape(_HEADER)}\s*extern "C"\s+void\s+kernel\(')
_VALUES = ("int64_t", "float", "double")  # kinds of arguments beside pointers

# The functions of the Python module, which is called as torch's own are.
_BEGIN = """
#include <Python.h>
#include <cstdlib>
#include <stdexcept>

static void* (*data_of_tensor)(PyObject*);

template <typename T> static inline T argument(PyObject* given) {
    return static_cast<T>(data_of_tensor(given));
}
template <> inline int64_t argument<int64_t>(PyObject* given) { return PyLong_AsLongLong(given); }
template <> inline double argument<double>(PyObject* given) { return PyFloat_AsDouble(given); }
template <> inline float argument<float>(PyObject* given) {
    return static_cast<float>(PyFloat_AsDouble(given));
}
"""
_FUNCTION = """
static PyObject* {name}_py(PyObject*, PyObject* const* given, Py_ssize_t count) {{
    try {{
        if (count != {count}) throw std::runtime_error("requires {count} arguments");
        {name}({arguments});
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }} catch (std::exception const& error) {{
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return nullptr;
    }}
}}
"""
_END = """
static PyMethodDef methods[] = {{
{methods}
    {{nullptr, nullptr, 0, nullptr}}
}};
static struct PyModuleDef module_def = {{PyModuleDef_HEAD_INIT, "kernel", nullptr, -1, methods}};

PyMODINIT_FUNC PyInit_kernel(void) {{
    const char* address = std::getenv("_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR");
    if (!address) {{
        PyErr_SetString(PyExc_RuntimeError, "the address of a tensor's data is not known");
        return nullptr;
    }}
    data_of_tensor =
        reinterpret_cast<decltype(data_of_tensor)>(std::strtoull(address, nullptr, 10));
    return PyModule_Create(&module_def);
}}
"""

_TURN = RLock()


class _Kernel:
    """A kernel that is built when all kernels of its program are known.

    Args:
        kinds: The kinds of its arguments in C++, without ``const``.
        source: Its C++ source, whose function is called ``kernel``.
    """

    def __init__(self, kinds: Sequence[str], source: str) -> None:
        self.kinds, self.source = kinds, source

    def renamed(self, name: str) -> str:
        """The source with another name of its function, without the header."""
        return self.source.replace(_HEADER, "", 1).replace("kernel(", f"{name}(", 1)

    def function(self, name: str) -> str:
        """Its function for Python."""
        arguments = ", ".join(
            f"argument<{kind}>(given[{place}])" for place, kind in enumerate(self.kinds)
        )
        return _FUNCTION.format(name=name, count=len(self.kinds), arguments=arguments)


@runtime_checkable
class KernelStore(Protocol):
    """Kernels that other programs have built."""

    def find(self, kinds: Sequence[str], source: str) -> tuple[Any, str] | None:
        """The module of a kernel, and the name of its function there."""

    def store(self, kinds: Sequence[str], source: str, built: str, name: str) -> None:
        """Stores the file that has a kernel, and the kernel's name there."""


class JointKernels:
    """A context within which torch's compiler builds the kernels of a program as one file.

    Threads take turns.

    Args:
        stored: Those of other programs, which are not built again.

    Attributes:
        failed: Whether the file could not be built; torch's own way may work.
        built: By the name of a kernel in the program: the built file, and the name in it.
    """

    def __init__(self, stored: KernelStore | None = None) -> None:
        self.failed = False
        self.built: dict[str, tuple[str, str]] = {}
        self._stored = stored
        self._undo = ExitStack()

    def __enter__(self) -> "JointKernels":
        self._undo.enter_context(_TURN)
        with suppress(TorchInternalsError), as_private("the builder of kernels"):
            self._build_together(torch_internals.kernel_compiler())
            self._choose(torch_internals.instruction_sets())
        Thread(target=copy_context().run, args=(_precompile_headers,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def _build_together(self, compiler: Any) -> None:
        """Kernels are built when torch waits for them."""
        build_one, wait = compiler.cpp_pybinding, compiler.wait

        def build_later(itself: Any, kinds: Sequence[str], source: str) -> Any:
            plain = [kind.replace("const ", "") for kind in kinds]
            known = all(kind.endswith("*") or kind in _VALUES for kind in plain)
            if known and _KERNEL.match(source) and source.count('extern "C"') == 1:
                return _Kernel(plain, source)
            return build_one(itself, kinds, source)

        def build_and_wait(itself: Any, scope: dict[str, Any]) -> None:
            names = [name for name, value in scope.items() if isinstance(value, _Kernel)]
            try:
                found = self._found([scope[name] for name in names])
            except Exception:
                self.failed = True
                _tried.cache_clear()  # a precompiled header may be gone
                raise
            wait(itself, scope)
            for name, (module, own) in zip(names, found, strict=True):
                scope[name] = getattr(module, own)
                self.built[name] = (str(module.__file__), own)

        self._replace(compiler, cpp_pybinding=build_later, wait=build_and_wait)

    def _found(self, kernels: Sequence[_Kernel]) -> list[tuple[Any, str]]:
        """For each kernel, its module and its name there; those that are not stored are built."""
        if self._stored is None:
            return _built(kernels)
        found = [self._stored.find(each.kinds, each.source) for each in kernels]
        new = [each for each, known in zip(kernels, found, strict=True) if known is None]
        built = _built(new)
        for kernel, (module, name) in zip(new, built, strict=True):
            self._stored.store(kernel.kinds, kernel.source, str(module.__file__), name)
        own = iter(built)
        return [next(own) if known is None else known for known in found]

    def _choose(self, module: Any) -> None:
        """The widest vector instructions are the only ones, if they are known."""
        if widest := _widest(module):
            self._replace(module, valid_vec_isa_list=lambda: widest)

    def _replace(self, owner: Any, **members: Any) -> None:
        """Replaces members of a class or module until the context ends."""
        for name, member in members.items():
            self._undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, member)


def _built(kernels: Sequence[_Kernel]) -> list[tuple[Any, str]]:
    """For each kernel, the module that was built for Python and the name of its function there."""
    groups: list[list[_Kernel]] = []
    length = _LARGE
    for kernel in kernels:
        if length + len(kernel.source) > _LARGE:
            groups.append([])
            length = 0
        groups[-1].append(kernel)
        length += len(kernel.source)
    loads = [torch_internals.kernel_module(_source(group)) for group in groups]
    with ThreadPoolExecutor() as pool:  # torch's settings belong to the context of this thread
        modules = list(pool.map(lambda load, context: context.run(load), loads, _contexts()))
    return [
        (module, f"kernel_{place}")
        for module, group in zip(modules, groups, strict=True)
        for place in range(len(group))
    ]


def _contexts() -> Iterator[Context]:
    while True:
        yield copy_context()


def _source(kernels: Sequence[_Kernel]) -> str:
    """The source of a Python module with some kernels: ``kernel_0``, ``kernel_1`` and so on."""
    names = [f"kernel_{place}" for place in range(len(kernels))]
    named = list(zip(kernels, names, strict=True))
    sources = [kernel.renamed(name) for kernel, name in named]
    functions = [kernel.function(name) for kernel, name in named]
    entries = [
        f'    {{"{name}", reinterpret_cast<PyCFunction>({name}_py), METH_FASTCALL, nullptr}},'
        for name in names
    ]
    end = _END.format(methods="\n".join(entries))
    return "\n".join([_HEADER, *sources, _BEGIN, *functions, end])


def _widest(instructions: Any) -> list[Any]:
    """The widest vector instructions, where they are known without trying."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return []
    if os.environ.get("ATEN_CPU_CAPABILITY"):
        return []
    have, known = instructions.x86_isa_checker(), instructions.supported_vec_isa_list
    for name in ("avx512", "avx2"):
        if name in have:
            return [_tried(each) for each in known if str(each) == name]
    return []


@cache
def _tried(instructions: Any) -> Any:
    """Vector instructions that are not tried again where torch asks whether they can be used.

    They are the same object each time: by them, torch knows again which headers it has checked.
    """
    kind = type(instructions)
    members = {"__bool__": lambda self: True, "__hash__": kind.__hash__}
    return type(kind.__name__, (kind,), members)()


def _precompile_headers() -> None:
    """Builds the precompiled headers while the program is traced, unless they exist."""
    with suppress(Exception):  # building the kernels tells
        torch_internals.kernel_module(_HEADER)
