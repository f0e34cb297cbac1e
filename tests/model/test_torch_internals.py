"""torch's private parts: named in one module, and missed with a message that has the version."""

import ast
import re
import sys
from pathlib import Path

import pytest
import torch

import ablab
from ablab.model import torch_internals
from ablab.model.torch_internals import (
    TorchInternalsError,
    as_private,
    private,
    seen_operations,
)
from ablab.train.compiling import CompileError, compile_program

SOURCES = Path(ablab.__file__).parent
ADAPTER = SOURCES / "model" / "torch_internals.py"
VERSION = re.escape(torch.__version__)
# Private packages, and those that torch calls experimental or leaves out of its documentation.
UNSTABLE = ("torch.fx.experimental", "torch.utils.flop_counter")


def dotted(node):
    """``torch.ops.aten`` for the expression of that name; None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return None


def is_private(path):
    parts = path.split(".")
    if parts[0] != "torch":
        return False
    if parts[1:3] == ["ops", "aten"]:
        return False  # operators: those named so belong to torch's documented core operations
    # Names such as __version__ and __matmul__ are public.
    own = [part for part in parts if not (part.startswith("__") and part.endswith("__"))]
    return any(part.startswith("_") for part in own) or path.startswith(UNSTABLE)


def private_names(source):
    """The private names of torch in a module's source, with their lines."""
    tree = ast.parse(source)
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {each.asname or each.name.split(".")[0]: each.name if each.asname
                        else each.name.split(".")[0] for each in node.names}  # fmt: skip
            yield from ((each.name, node.lineno) for each in node.names if is_private(each.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                path = f"{node.module}.{each.name}"
                aliases[each.asname or each.name] = path
                if is_private(path):
                    yield path, node.lineno
        elif isinstance(node, ast.Assign) and (path := dotted(node.value)):
            root, _, rest = path.partition(".")
            full = ".".join(filter(None, (aliases.get(root, root), rest)))
            aliases |= {each.id: full for each in node.targets if isinstance(each, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (path := dotted(node)):
            root, _, rest = path.partition(".")
            full = f"{aliases.get(root, root)}.{rest}"
            if is_private(full):
                yield full, node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            path = node.value.replace(":", ".")
            if path.isascii() and " " not in path and is_private(path):
                yield path, node.lineno


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from torch._inductor import config", "torch._inductor.config"),
        ("import torch._dynamo", "torch._dynamo"),
        ("import torch\nx = torch._ops.OpOverload", "torch._ops.OpOverload"),
        ("from torch import nn\nx = nn.modules.batchnorm._BatchNorm",
         "torch.nn.modules.batchnorm._BatchNorm"),
        ("from torch.fx.experimental.proxy_tensor import make_fx",
         "torch.fx.experimental.proxy_tensor.make_fx"),
        ("import_module('torch._guards')", "torch._guards"),
        ("import torch as t\ny = t.utils\ny._pytree", "torch.utils._pytree"),
    ],
)  # fmt: skip
def test_private_names_are_found_however_they_are_written(source, found):
    assert found in [name for name, _ in private_names(source)]


@pytest.mark.parametrize(
    "source",
    ["import torch\ntorch.ops.aten._softmax.default", "import torch\ntorch.__version__",
     "from torch import Tensor\nTensor.__matmul__",
     "from torch import nn\nself._torch = nn.Linear"],
)  # fmt: skip
def test_public_names_are_left_alone(source):
    assert list(private_names(source)) == []


def test_private_parts_of_torch_are_named_in_one_module_only():
    found = {
        f"{path.relative_to(SOURCES)}:{line} {name}"
        for path in sorted(SOURCES.rglob("*.py"))
        if path != ADAPTER
        for name, line in private_names(path.read_text(encoding="utf-8"))
    }
    assert not found, "move these to model/torch_internals.py:\n" + "\n".join(sorted(found))
    assert len(set(private_names(ADAPTER.read_text(encoding="utf-8")))) > 10


@pytest.fixture
def imported():
    """torch's compiler, imported before a part of it is taken away."""
    return compile_program(lambda x: {"x": x + 1}, [torch.ones(3)])


def test_what_is_missing_is_named_with_torchs_version(monkeypatch, imported):
    with pytest.raises(TorchInternalsError, match=f"torch {VERSION} has no torch._guards"):
        private("torch._guards:no_such_name")
    monkeypatch.setitem(sys.modules, "torch._inductor.compile_fx", None)
    with pytest.raises(CompileError) as caught:
        compile_program(lambda x: {"x": x + 1}, [torch.ones(3)])
    assert f"torch {torch.__version__} has no torch._inductor.compile_fx" in str(caught.value)


def test_what_behaves_differently_is_named_with_torchs_version(monkeypatch, imported):
    def changed(*, new_argument):
        raise AssertionError("it cannot be called without its argument")

    monkeypatch.setattr("torch._subclasses.fake_tensor.FakeTensorMode", changed)
    with pytest.raises(CompileError, match=f"behaves differently in torch {VERSION}"):
        compile_program(lambda x: {"x": x + 1}, [torch.ones(3)])
    with pytest.raises(TorchInternalsError, match="TypeError: no"), as_private("it"):
        raise TypeError("no")


def test_the_adapter_itself_does_not_import_torch():
    tree = ast.parse(Path(torch_internals.__file__).read_text(encoding="utf-8"))
    at_the_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [name.name for node in at_the_top for name in node.names]
    assert not any(name.startswith("torch") for name in names)


def test_counting_operations_does_not_import_the_compiler(monkeypatch):
    for name in [each for each in sys.modules if each.startswith("torch._dynamo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # importing it is an error
    seen = []
    with seen_operations(lambda operation, *_: seen.append(operation)):
        torch.ones(2) @ torch.ones(2)
    assert torch.ops.aten.dot.default in seen
