"""Stacks and their statistics by stored programs: the same bits, and never another's function."""

import numpy as np
import pytest
import torch

from ablab.config.source_digest import found_sources
from ablab.train import compiled_gradients
from ablab.train.compiling import compile_program, traces_only
from ablab.train.method import Method
from ablab.train.stack import Stack
from ablab.train.stored_programs import are_shipped
from ablab.watching.step_statistics import StepStatistics
from tests.helpers import make_run

CPU = torch.device("cpu")
INNERMOST = Method("stack", True, "innermost", "plain", rows=1)
USUAL = Method("stack", True, rows=1)
STACK = Method("stack")
MINE = "tests.watching.my_reducers:largest"


def trained(method, patterns=(), steps=4, **settings):
    """Losses, parameters and watched values of two runs, as if in a new process."""
    compiled_gradients._PROGRAMS.clear()
    stack = Stack([make_run(seed, **settings) for seed in (0, 1)], None, CPU, method)
    if patterns:
        stack.collector = StepStatistics(stack, patterns, lambda step: True)
    rows = [stack.advance(1) for _ in range(steps)]
    watched = [] if not patterns else [row.watched for row in rows]
    return [stack.theta.numpy(), *(row.losses for row in rows), *watched]


@pytest.fixture
def counts(monkeypatch):
    """How many programs were traced, and how many found; they are kept here, and not compiled."""
    counted = {"compiled": 0, "loaded": 0}
    kept = {}

    def address(definition, examples):
        return definition, *((each.shape, each.stride(), each.dtype) for each in examples)

    def load(definition, examples):
        found = None if definition is None else kept.get(address(definition, examples))
        counted["loaded"] += found is not None
        return found

    def compiled(function, examples, definition=None):
        counted["compiled"] += 1
        with traces_only():
            program = compile_program(function, examples)
        kept[address(definition, examples)] = program
        return program

    monkeypatch.setattr(compiled_gradients, "compile_program", compiled)
    monkeypatch.setattr(compiled_gradients, "load_program", load)
    return counted


def test_a_compiled_stack_trains_by_a_stored_program_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    first = trained(USUAL, ("activation/logits/rms",))
    (record,) = (tmp_path / "ablab" / "programs").iterdir()

    def fail(*_):
        raise AssertionError("it was compiled again")

    monkeypatch.setattr(compiled_gradients, "compile_program", fail)
    again = trained(USUAL, ("activation/logits/rms",))
    assert record.exists()
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("method", [USUAL, INNERMOST], ids=["usual", "innermost"])
def test_a_stack_and_its_statistics_are_one_stored_program(counts, method):
    patterns = ("activation/*.mlp.*/rms", "activation_grad/logits/mean_norm")
    first = trained(method, patterns)
    assert counts == {"compiled": 1, "loaded": 0}
    again = trained(method, patterns)
    assert counts == {"compiled": 1, "loaded": 1}
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    trained(method, ("activation/*.mlp.*/max_abs",), steps=1)  # other statistics
    assert counts == {"compiled": 2, "loaded": 1}


def test_a_users_loss_and_a_users_statistic_are_traced_every_time(counts):
    mine = {"loss": "tests.train.my_losses:by_token"}
    run = make_run(**mine)
    assert not run.program_is_shipped and make_run().program_is_shipped
    assert [*found_sources([run.train.loss.identity()])]
    trained(USUAL, steps=1, **mine)
    trained(USUAL, steps=1, **mine)
    trained(USUAL, (f"activation/logits/{MINE}",), steps=1)
    trained(USUAL, (f"activation/logits/{MINE}",), steps=1)
    assert counts == {"compiled": 4, "loaded": 0}


def test_runs_that_differ_in_what_is_trained_share_no_program(counts):
    trained(USUAL, steps=1)
    trained(USUAL, steps=1, loss={"label_smoothing": 0.1})
    trained(USUAL, steps=1, precision="bfloat16")
    assert counts == {"compiled": 3, "loaded": 0}
    trained(USUAL, steps=1, lr=0.1, weight_decay=0.3)  # which are no part of it
    assert counts == {"compiled": 3, "loaded": 1}


def test_a_part_of_the_users_that_has_a_name_like_a_shipped_one_is_traced(counts, monkeypatch):
    """However it came to be used: here, by another class in the place of ablab's own."""
    objective = Stack([make_run()], None, CPU, STACK).objective
    assert objective.is_shipped

    class Mine(type(objective.model)):
        pass

    monkeypatch.setattr(objective.model, "__class__", Mine)
    assert not objective.is_shipped
    assert not are_shipped(len.__class__, Mine) and are_shipped(torch.nn.Linear, Stack)
