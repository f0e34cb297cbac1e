"""What becomes of a method that does not compile, or that is slower than the eager one."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from ablab.execute.verify import verify
from ablab.train.compiling import CompileError
from ablab.train.innermost import NoRuleError
from ablab.train.method import SOLO, STACK, Method
from ablab.train.stack import Stack
from tests.helpers import BIGRAM, TEXT, make_run

CPU = torch.device("cpu")
INNERMOST = Method("stack", True, "innermost", "plain", 1)
USUAL = Method("stack", True, "usual", "plain", 1)


RUNS = [make_run(seed, model=BIGRAM, task=TEXT) for seed in (0, 1)]


class Rehearsed(Stack):
    """A stack whose methods take given times, one rehearsal after another, or raise."""

    times: ClassVar[dict] = {}

    def time_gradient(self):
        found = self.times[self.method]
        if isinstance(found, Exception):
            raise found
        return found.pop(0) if isinstance(found, list) else found


def settled(times, fallback=STACK):
    stack = Rehearsed(RUNS, None, CPU, INNERMOST)
    stack.times = times
    told = []
    verify(stack, fallback, told.append)
    return stack.method, told


@pytest.mark.parametrize(
    ("compiled", "eager", "kept"),
    [
        (0.5, 1.0, INNERMOST),
        (1.05, 1.0, INNERMOST),
        (1.5, 1.0, STACK),
        ([60.0, 2.0, 0.5], [1.0, 1.0], INNERMOST),  # the first compiles, and does not count
        ([60.0, 2.0, 1.5], [9.0, 1.0], STACK),  # of two, the faster one counts
    ],
)
def test_the_faster_method_is_kept(compiled, eager, kept):
    assert settled({INNERMOST: compiled, STACK: eager}) == (kept, [])


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_stack_trains_as_if_nothing_had_been_verified(seconds, monkeypatch):
    stack = Stack(RUNS, None, CPU, INNERMOST)
    really = stack.time_gradient

    def time_gradient():  # the gradients are computed; only the compiled method's time is made up
        found = really()
        return seconds if stack.method == INNERMOST else found

    monkeypatch.setattr(stack, "time_gradient", time_gradient)
    verify(stack, STACK, lambda event: pytest.fail(event["text"]))
    assert stack.method == (INNERMOST if seconds == 0 else STACK)
    found = stack.advance(5)
    same = Stack(RUNS, None, CPU, stack.method).advance(5)
    np.testing.assert_array_equal(found.losses, same.losses)
    np.testing.assert_array_equal(found.grad_norms, same.grad_norms)
    for index, run in enumerate(RUNS):
        alone = Stack([run], None, CPU, SOLO).advance(5)
        np.testing.assert_allclose(found.losses[:, index], alone.losses[:, 0], rtol=1e-4)


def test_compiling_that_was_asked_for_is_kept():
    assert settled({INNERMOST: 9.0, STACK: 1.0}, fallback=None) == (INNERMOST, [])


def test_without_a_rule_the_usual_layout_is_compiled():
    times = {INNERMOST: NoRuleError("sort has no rule"), USUAL: 0.5, STACK: 1.0}
    assert settled(times) == (USUAL, [])


@pytest.mark.parametrize("fallback", [STACK, None])
def test_what_cannot_be_compiled_is_trained_eagerly_with_a_word(fallback):
    error = CompileError("it branches on a value")
    method, told = settled({INNERMOST: error, USUAL: error, STACK: 1.0}, fallback)
    assert method == STACK
    (event,) = told
    assert event["event"] == "message"
    assert "it branches on a value" in event["text"]
