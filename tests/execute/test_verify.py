"""What becomes of a method that does not compile, or that is slower than the eager one."""

from typing import ClassVar

import pytest
import torch

from ablab.execute.verify import verify
from ablab.train.compiling import CompileError
from ablab.train.innermost import NoRuleError
from ablab.train.method import STACK, Method
from ablab.train.stack import Stack
from tests.helpers import BIGRAM, TEXT, make_run

CPU = torch.device("cpu")
INNERMOST = Method("stack", True, "innermost", "plain", 1)
USUAL = Method("stack", True, "usual", "plain", 1)


class Rehearsed(Stack):
    """A stack whose methods take given times, or raise."""

    times: ClassVar[dict] = {}

    def time_gradient(self):
        found = self.times[self.method]
        if isinstance(found, Exception):
            raise found
        return found


def settled(times, fallback=STACK):
    runs = [make_run(seed, model=BIGRAM, task=TEXT) for seed in (0, 1)]
    stack = Rehearsed(runs, None, CPU, INNERMOST)
    stack.times = times
    told = []
    verify(stack, fallback, told.append)
    return stack.method, told


@pytest.mark.parametrize(("compiled", "kept"), [(0.5, INNERMOST), (1.05, INNERMOST), (1.5, STACK)])
def test_the_faster_method_is_kept(compiled, kept):
    assert settled({INNERMOST: compiled, STACK: 1.0}) == (kept, [])


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
