"""Compiles functions of tensors; programs are stored between commands, by torch and by ablab.

A function is traced once into plain tensor operations, including its gradient, and compiled by
Inductor. The compiled program runs none of the user's Python code.
"""

import gc
import hashlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which
from threading import RLock
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, fx

from ablab.config.progress import doing
from ablab.model import torch_internals
from ablab.model.joint_kernels import JointKernels
from ablab.model.torch_internals import TorchInternalsError
from ablab.train import stored_programs
from ablab.train.stored_kernels import stored_kernels


@dataclass(frozen=True)
class Program:
    """A compiled function of tensors.

    Attributes:
        names: The names of its results.
        seconds: Seconds that compiling took.
    """

    names: tuple[str, ...]
    seconds: float
    _call: Callable[[list[Tensor]], Sequence[Tensor]]

    def __call__(self, inputs: list[Tensor]) -> dict[str, Tensor]:
        """The results by name; empties ``inputs``, so that their memory can be reused."""
        return dict(zip(self.names, self._call(inputs), strict=True))


_TURN = RLock()
_TRACES_ONLY: ContextVar[bool] = ContextVar("traces_only", default=False)


@contextmanager
def traces_only() -> Iterator[None]:
    """Within this context, functions are traced, and their operations run one by one.

    This takes a second where compiling takes ten, and computes the same but for the compiler.
    """
    token = _TRACES_ONLY.set(True)
    try:
        yield
    finally:
        _TRACES_ONLY.reset(token)


def is_traced_only() -> bool:
    """Whether functions are traced and not compiled."""
    return _TRACES_ONLY.get()


class CompileError(Exception):
    """A function could not be compiled; ``__cause__`` is the reason."""


def load_program(definition: str | None, examples: Sequence[Tensor]) -> Program | None:
    """A program that was compiled and stored by this command or an earlier one, if there is one.

    Args:
        definition: As for :func:`compile_program`.
        examples: Tensors like those of later calls.
    """
    began = time.perf_counter()
    file = _address(definition, examples)
    found = None if file is None else stored_programs.load(file)
    return None if found is None else Program(found[0], time.perf_counter() - began, found[1])


def compile_program(
    function: Callable[..., dict[str, Tensor]],
    examples: Sequence[Tensor],
    definition: str | None = None,
) -> Program:
    """Compiles a function for tensors with exactly the shapes, strides and dtypes of examples.

    Args:
        function: A function of tensors only that returns tensors by name; it may differentiate.
        examples: Tensors like those of later calls; their values are not used.
        definition: Determines the function, given ablab's source, so that :func:`load_program`
            finds the program later; None if nothing does, such as for a user's code.

    Raises:
        CompileError: The function cannot be traced or compiled.
    """
    began = time.perf_counter()
    with doing("compiling"), _without_collecting(), warnings.catch_warnings():
        for sort in (DeprecationWarning, FutureWarning):  # raised by torch about torch
            warnings.simplefilter("ignore", sort)
        names, call = _compiled(function, examples, _address(definition, examples))
    return Program(names, time.perf_counter() - began, call)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Leaves garbage for later: torch's compiler has millions of objects, and little garbage.

    Threads take turns, so that none takes another's setting for the user's.
    """
    with _TURN:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


def _address(definition: str | None, examples: Sequence[Tensor]) -> Path | None:
    """Where a program is stored; None if it is not."""
    if definition is None or is_traced_only():
        return None
    return stored_programs.address(definition, examples)


def _compiled(
    function: Callable[..., dict[str, Tensor]], examples: Sequence[Tensor], file: Path | None
) -> tuple[tuple[str, ...], Callable[[list[Tensor]], Sequence[Tensor]]]:
    if is_traced_only():
        with _as_compile_error():
            names, graph, _, _ = _traced(function, examples)
            return names, partial(_run, graph)
    settings = {
        "cpp.enable_floating_point_contract_flag": "fast",
        "cpp.threads": torch.get_num_threads(),  # part of the cache's key, which lacks the threads
        "cpp_cache_precompile_headers": which("openssl") is not None,  # torch's digest of them
        "fx_graph_cache": True,
    }
    if not all(example.device.type == "cpu" for example in examples):
        with _as_compile_error(), torch_internals.compiler_settings(settings):
            names, graph, mode, fakes = _traced(function, examples)
            with _lock(graph):
                return names, torch_internals.compile_graph(graph, mode, fakes)
    joint = JointKernels(stored_kernels())
    try:
        names, program = _compiled_for_cpu(function, examples, settings, joint)
    except CompileError:
        if not joint.failed:
            raise
    else:
        if file is not None:
            stored_programs.store(file, names, program, joint.built)
        return names, program
    return _compiled_for_cpu(function, examples, settings, None)


def _compiled_for_cpu(
    function: Callable[..., dict[str, Tensor]],
    examples: Sequence[Tensor],
    settings: Mapping[str, Any],
    joint: JointKernels | None,
) -> tuple[tuple[str, ...], Callable[[list[Tensor]], Sequence[Tensor]]]:
    """The compiled function; its kernels are built in torch's own way without ``joint``."""
    with _as_compile_error(), torch_internals.compiler_settings(settings), joint or nullcontext():
        names, graph, mode, fakes = _traced(function, examples)
        _materialize_factors(graph)
        with _lock(graph):
            return names, torch_internals.compile_graph(graph, mode, fakes)


def _traced(
    function: Callable[..., dict[str, Tensor]], examples: Sequence[Tensor]
) -> tuple[tuple[str, ...], fx.GraphModule, Any, list[Any]]:
    """The names of a function's results, its graph, and the mode and inputs of its tracing."""
    mode, fakes = torch_internals.fake_tensors(examples)
    with mode:
        decompositions = torch_internals.compiler_decompositions()
        graph = torch_internals.trace(function, fakes, decompositions)
    return _flatten_results(graph), graph, mode, fakes


@contextmanager
def _as_compile_error() -> Iterator[None]:
    """Turns the errors of tracing and compiling into one that names torch's version."""
    try:
        yield
    except TorchInternalsError as error:  # which names torch's version
        raise CompileError(str(error)) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CompileError(f"{reason} (torch {torch.__version__})") from error


def _run(graph: fx.GraphModule, inputs: list[Tensor]) -> Sequence[Tensor]:
    """Runs a graph; empties ``inputs``."""
    given = inputs.copy()
    inputs.clear()
    results: Sequence[Tensor] = graph(*given)
    return results


def _flatten_results(graph: fx.GraphModule) -> tuple[str, ...]:
    """Makes a traced function return a tuple instead of a dict; returns the dict's keys."""
    (output,) = [node for node in graph.graph.nodes if node.op == "output"]
    results = output.args[0]
    output.args = (tuple(results.values()),)
    graph.recompile()
    return tuple(results)


def _lock(graph: fx.GraphModule) -> FileLock:
    """A lock, so that one process compiles a graph and others wait for its result."""
    digest = hashlib.sha256(str(graph.graph).encode()).hexdigest()[:16]
    folder = stored_programs.folder()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{digest}.lock")


def _materialize_factors(graph: fx.GraphModule) -> None:
    """Materializes the factors of every sum of products.

    The compiler fuses element-wise operations into the loop that uses them. A sum of products reads
    each factor many times, so a fused error function, for example, would be recomputed for every
    output.
    """
    store = torch_internals.stored_copy()
    aten = torch.ops.aten
    stored: set[fx.Node] = set()
    for node in list(graph.graph.nodes):
        if node.target is not aten.sum.dim_IntList or node.args[0].target is not aten.mul.Tensor:
            continue
        for factor in node.args[0].args:
            source = _behind_views(factor)
            if source is None or source in stored or source.target is aten.sum.dim_IntList:
                continue
            stored.add(source)
            value = source.meta["val"]
            with graph.graph.inserting_after(source):
                copy = graph.graph.call_function(store, (source, list(value.contiguous().stride())))
            copy.meta = dict(source.meta)
            users = [user for user in source.users if user is not copy]
            for user in users:
                user.replace_input_with(source, copy)
    graph.recompile()


def _behind_views(node: Any) -> fx.Node | None:
    """The operation at the start of a chain of views; None if it is an input or a number."""
    while isinstance(node, fx.Node) and node.op == "call_function":
        target: Any = node.target
        if (
            not torch_internals.is_view(target)
            and target is not torch.ops.aten._unsafe_view.default
        ):
            return node if isinstance(node.meta.get("val"), Tensor) else None
        node = node.args[0]
    return None
