"""Traced programs that torch runs operation by operation, where compiling would take too long."""

import pytest

from ablab.model import torch_internals
from ablab.train import compiled_gradients


@pytest.fixture
def interpreted(monkeypatch):
    """Everything of a compiled method but the compiler: its graphs are traced, then interpreted."""

    def compile_graph(graph, mode, fakes, settings):
        def program(inputs):
            found = graph(*inputs)
            inputs.clear()
            return found

        return program

    monkeypatch.setattr(torch_internals, "compile_graph", compile_graph)
    monkeypatch.setattr(compiled_gradients, "_PROGRAMS", {})
