"""The private and experimental parts of torch that ablab uses; no other module names them.

They have no promise of stability, so each is looked up here, on use, and an error names what is
missing and torch's version. Without them ablab trains eagerly and says so. Importing this module
does not import torch.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, fx

Compiled = Callable[[list["Tensor"]], Sequence["Tensor"]]


class TorchInternalsError(Exception):
    """A private part of torch is missing or behaves differently; the message has the version."""


def private(path: str) -> Any:
    """A private object of torch, by ``module:name``.

    Raises:
        TorchInternalsError: This version of torch does not have it.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TorchInternalsError(
            f"torch {torch_version()} has no {module}.{name}, a private part of torch that ablab "
            f"needs here"
        ) from error


def torch_version() -> str:
    """The version of torch."""
    return str(import_module("torch").__version__)


@contextmanager
def as_private(what: str) -> Iterator[None]:
    """Turns errors of a call with unexpected arguments or attributes into an error that says so.

    Args:
        what: What is called, for the message.

    Raises:
        TorchInternalsError: It does not take these arguments, or lacks an attribute.
    """
    try:
        yield
    except (TypeError, AttributeError) as error:
        raise TorchInternalsError(
            f"{what}, a private part of torch, behaves differently in torch {torch_version()}: "
            f"{type(error).__name__}: {error}"
        ) from error


def trace(
    function: Callable[..., Any], inputs: Sequence[Any], decompositions: Mapping[Any, Any]
) -> "fx.GraphModule":
    """Traces a function of tensors into a graph of operations, and removes unused ones."""
    make_fx = private("torch.fx.experimental.proxy_tensor:make_fx")
    graph: fx.GraphModule = make_fx(function, decomposition_table=dict(decompositions))(*inputs)
    graph.graph.eliminate_dead_code()
    return graph


def core_decompositions() -> dict[Any, Any]:
    """Decompositions of operations into torch's core operations."""
    table = private("torch._decomp:core_aten_decompositions")
    with as_private("torch._decomp.core_aten_decompositions"):
        return dict(table())


def compiler_decompositions() -> dict[Any, Any]:
    """Decompositions of operations into those that torch's compiler knows."""
    table = private("torch._inductor.decomposition:select_decomp_table")
    with as_private("torch._inductor.decomposition.select_decomp_table"):
        return dict(table())


def fake_tensors(examples: Sequence["Tensor"]) -> tuple[Any, list[Any]]:
    """A mode under which tensors have no values, and tensors of that kind like the examples."""
    fake_mode = private("torch._subclasses.fake_tensor:FakeTensorMode")
    shapes = private("torch.fx.experimental.symbolic_shapes:ShapeEnv")
    with as_private("torch._subclasses.fake_tensor.FakeTensorMode"):
        mode = fake_mode(shape_env=shapes(), static_shapes=True, allow_non_fake_inputs=True)
        return mode, [mode.from_tensor(example, static_shapes=True) for example in examples]


@contextmanager
def compiler_settings(settings: Mapping[str, Any]) -> Iterator[None]:
    """Settings of torch's compiler, Inductor, within a context."""
    config = private("torch._inductor:config")
    with as_private("torch._inductor.config"):
        patched = config.patch(dict(settings))
    with patched:
        yield


def compile_graph(graph: "fx.GraphModule", mode: Any, fakes: Sequence[Any]) -> Compiled:
    """Compiles a graph with torch's compiler, Inductor.

    Args:
        graph: A graph whose output is a tuple of tensors.
        mode: The mode of :func:`fake_tensors`.
        fakes: Its inputs, of that mode.
    """
    context = private("torch._guards:TracingContext")
    tracing = private("torch._guards:tracing")
    compile_inner = private("torch._inductor.compile_fx:compile_fx_inner")
    with tracing(context(mode)):
        program: Compiled = compile_inner(graph, list(fakes))
    return program


def kernel_compiler() -> Any:
    """The class that builds the C++ kernels of a program: ``cpp_pybinding`` and ``wait``."""
    return private("torch._inductor.async_compile:AsyncCompile")


def compiler_version() -> str:
    """What the C++ compiler that builds kernels says of its version."""
    builder = "torch._inductor.cpp_builder"
    with as_private(builder):
        compiler = private(f"{builder}:get_cpp_compiler")()
        return str(private(f"{builder}:get_compiler_version_info")(compiler))


def instruction_sets() -> Any:
    """The module that tells which vector instructions the processor has."""
    return private("torch._inductor:cpu_vec_isa")


def kernel_module(source: str) -> Callable[[], Any]:
    """A Python module built from C++ that defines ``PyInit_kernel``, as kernels are built.

    Headers are precompiled at once if they are not yet; what is returned builds and loads the rest.
    """
    cache = private("torch._inductor.codecache:CppPythonBindingsCodeCache")
    with as_private("torch._inductor.codecache.CppPythonBindingsCodeCache"):
        load: Callable[[], Any] = cache.load_async(source, device_type="cpu")
    return load


def programs_folder() -> Path:
    """The folder of torch's own cache of compiled programs.

    The module of torch that knows it is loaded by itself, since its package takes a second.
    """
    return Path(_cache_folder()())


@lru_cache(maxsize=1)
def _cache_folder() -> Callable[[], str]:
    name = "torch._inductor.runtime.cache_dir_utils"
    file = Path(str(import_module("torch").__file__)).parent.joinpath(*name.split(".")[1:])
    spec = spec_from_file_location("ablab_cache_dir_utils", file.with_suffix(".py"))
    with suppress(ImportError, AttributeError, OSError):
        assert spec is not None and spec.loader is not None, "it is a Python file"
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Callable[[], str] = module.cache_dir
        return found
    known: Callable[[], str] = private(f"{name}:cache_dir")
    return known


def compiler_has_own_settings() -> bool:
    """Whether settings of torch's compiler have other values than their defaults at present."""
    config: Any = sys.modules.get("torch._inductor.config")
    if config is None:
        return False
    with as_private("torch._inductor.config"):
        changed = config._get_dict(skip_default=True)  # with some that were set to their defaults
        return any(value != config._config[name].default for name, value in changed.items())


def load_kernels(file: str, name: str) -> Any:
    """The Python module of a file that :func:`kernel_module` built, under a name of its own.

    The name has to be another one for each file: Python would take the functions of a file for
    those of the module that was loaded last under the same name.
    """
    with as_private("torch._C._dynamo.guards"):
        guards = private("torch._C:_dynamo").guards
        address = guards._torchinductor_pyobject_tensor_data_ptr
    os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(address)  # read by the module
    spec = spec_from_file_location(f"{name}.kernel", file)  # the end is that of PyInit_kernel
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored_copy() -> Any:
    """The compiler's operation that stores a tensor with given strides, ``op(tensor, strides)``."""
    return private("torch._inductor.inductor_prims:force_stride_order")


def is_view(target: Any) -> bool:
    """Whether a graph's operation returns a view of its input."""
    return isinstance(target, private("torch._ops:OpOverload")) and bool(target.is_view)


@lru_cache(maxsize=1)
def tree_functions() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The leaves of nested arguments, and a map over those of given types."""
    pytree = "torch.utils._pytree"
    return private(f"{pytree}:tree_leaves"), private(f"{pytree}:tree_map_only")


def seen_operations(see: Callable[[Any, Any, Any, Any], None]) -> AbstractContextManager[Any]:
    """Calls ``see(operation, args, kwargs, result)`` for every operation of this thread.

    torch's ``FlopCounterMode`` is not used because it hooks every module of the process, including
    those of other threads.
    """
    base: Any = private("torch.utils._python_dispatch:TorchDispatchMode")

    class Seen(base):  # type: ignore[misc]
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            """Nothing is compiled in this mode; by default it imports torch's compiler (1 s)."""
            return False

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            see(func, args, kwargs or {}, result)
            return result

    seen: AbstractContextManager[Any] = Seen()
    return seen


def arithmetic(operation: Any) -> Callable[..., Any] | None:
    """The formula, by torch, for the FLOPs of an operation; None if it has none."""
    formulas = private("torch.utils.flop_counter:flop_registry")
    found: Callable[..., Any] | None = formulas.get(operation.overloadpacket)
    return found


def recompile_limit(most: int) -> AbstractContextManager[Any]:
    """Raises the number of shapes for which ``torch.compile`` compiles a function."""
    config = private("torch._dynamo:config")
    with as_private("torch._dynamo.config"):
        limited: AbstractContextManager[Any] = config.patch(recompile_limit=most)
        return limited
