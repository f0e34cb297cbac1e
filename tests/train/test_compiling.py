import pytest
import torch

from ablab.train.compiling import CompileError, compile_program


def test_a_function_with_its_gradient_is_one_program():
    def function(x, y):
        x = x.detach().requires_grad_()
        value = (x.sin() * y).sum()
        (grad,) = torch.autograd.grad(value, x)
        return {"value": value.detach(), "grad": grad}

    x, y = torch.linspace(0, 1, 20), torch.linspace(1, 2, 20)
    program = compile_program(function, [x, y])
    assert program.seconds > 0
    assert program.names == ("value", "grad")
    for scale in (1.0, 3.0):
        given = [x * scale, y]
        found = program(given)
        assert given == [], "a program empties its list"
        torch.testing.assert_close(found["value"], ((x * scale).sin() * y).sum())
        torch.testing.assert_close(found["grad"], (x * scale).cos() * y)


def test_what_branches_on_a_value_is_refused_with_its_reason():
    with pytest.raises(CompileError, match=r"DataDependent|data-dependent|Could not"):
        compile_program(lambda x: {"x": x if x.sum() > 0 else -x}, [torch.ones(3)])
