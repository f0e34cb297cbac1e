"""The data themselves: they run, and each mistake changes what its correct sibling does."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ablab.tasks.config import IGNORED
from tests.doctor_blind import registry as first
from tests.doctor_blind_second import registry as second
from tests.doctor_blind_third.registry import BUGS, HEALTHY
from tests.doctor_blind_third.task_parts import Recurrence, Sum

CASES = [*BUGS, *HEALTHY]
MODELS = [case for case in CASES if issubclass(case.factory, nn.Module)]
TASKS = [case for case in CASES if case not in MODELS]
LEAKS = {
    "mask in the other convention",
    "memory without mask",
    "normalised by all keys",
    "circular convolution",
    "cut at the wrong end",
    "group norm over time",
    "rolled shift",
    "second GRU starts at the end",
}


def name(case):
    return case.name


def example():
    return torch.randint(0, 16, (3, 10), generator=torch.Generator().manual_seed(1))


def made(factory):
    torch.manual_seed(0)
    return factory()


def test_names_are_new_and_words_are_expressions():
    assert (len(BUGS), len(HEALTHY)) == (26, 16)
    earlier = {case.name for case in (*first.BUGS, *first.HEALTHY, *second.BUGS, *second.HEALTHY)}
    assert len({case.name for case in CASES} - earlier) == len(CASES)
    for bug in BUGS:
        assert bug.words and bug.sibling
        for word in bug.words:
            re.compile(word)


@pytest.mark.parametrize("case", MODELS, ids=name)
def test_a_model_runs_and_its_loss_has_a_gradient(case):
    model = made(case.factory)
    tokens = example()
    logits = model(tokens.clone())
    assert logits.shape == (3, 10, 16)
    assert logits.isfinite().all()
    F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("case", MODELS, ids=name)
def test_evaluation_is_deterministic_but_for_the_inverted_dropout(case):
    model = made(case.factory).eval()
    same = torch.equal(model(example()), model(example()))
    assert same == (case.name != "dropout inverted")


@pytest.mark.parametrize("case", MODELS, ids=name)
def test_only_the_expected_models_see_later_tokens(case):
    model = made(case.factory).eval()
    tokens = example()
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 16
    logits = []
    for each in (tokens, changed):
        torch.manual_seed(0)  # the evaluation of one model is random
        logits.append(model(each)[:, :6])
    same = torch.allclose(*logits, atol=1e-5)
    assert same == (case.name not in LEAKS)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug in MODELS], ids=name)
def test_a_mistake_changes_logits_or_gradients(bug):
    wrong, right = made(bug.factory), made(bug.sibling)
    wrong.load_state_dict(right.state_dict())
    found = []
    for model in (wrong, right):
        torch.manual_seed(2)
        logits = model(example())
        F.cross_entropy(logits.flatten(0, 1), example().flatten()).backward()
        gradients = [
            p.grad if p.grad is not None else p.new_zeros(p.shape) for p in model.parameters()
        ]
        found.append([logits, *gradients])
    pairs = zip(*found, strict=True)
    assert not all(a.shape == b.shape and torch.allclose(a, b, atol=1e-6) for a, b in pairs)


@pytest.mark.parametrize("case", TASKS, ids=name)
def test_a_task_draws_batches(case):
    task = case.factory(case.factory.Config())
    batch = task.draw(0, 1, 2, 4)
    assert batch.tokens.shape == (2, 4, task.config.input_length)
    positions = range(task.config.input_length)[task.predicted]
    assert batch.targets.shape == (2, 4, len(positions))
    assert batch.tokens.max() < task.config.vocab_size
    held_out = task.held_out(8)
    assert held_out.tokens.shape == (8, task.config.input_length)
    assert np.issubdtype(held_out.tokens.dtype, np.integer)
    one = task.draw(0, 2, 1, 4)
    assert (one.tokens[0] == batch.tokens[1]).all() and (one.targets[0] == batch.targets[1]).all()


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug in TASKS], ids=name)
def test_a_mistake_changes_a_task(bug):
    def behaviour(factory):
        task = factory(factory.Config())
        drawn = task.draw(3, 1, 1, 64)
        targets = torch.from_numpy(drawn.targets[0])
        tokens = torch.from_numpy(drawn.tokens[0])
        logits = F.one_hot(targets.clamp(min=0), task.config.vocab_size).float()
        accuracy = task.measures(logits, tokens, targets)["accuracy"].item()
        return drawn.tokens.tolist(), drawn.targets.tolist(), accuracy

    assert behaviour(bug.factory) != behaviour(bug.sibling)


def test_the_recurrence_is_followed_up_to_the_padding():
    batch = Recurrence(Recurrence.Config()).draw(0, 1, 1, 200)
    tokens, targets = batch.tokens[0], batch.targets[0]
    known = targets != IGNORED
    sums = (tokens[:, :-1] + tokens[:, 1:]) % 13
    assert (targets[known] == sums[known]).all()
    following = np.where(targets == IGNORED, 13, targets)
    assert (following[:, :-1] == tokens[:, 2:]).all()
    assert set(known.sum(1)) == {4, 5, 6, 7, 8, 9}


def test_sums_and_their_split():
    task = Sum(Sum.Config())
    held_out, drawn = task.held_out(10_000), task.draw(5, 1, 20, 500)
    assert len(held_out.tokens) == 266  # a fifth of 11³
    assert (held_out.tokens[:, 3] == 11).all()
    assert (held_out.tokens[:, :3].sum(1) % 11 == held_out.targets[:, 0]).all()
    rows = {tuple(row) for row in held_out.tokens}
    assert len(rows) == 266
    assert not rows & {tuple(row) for row in drawn.tokens.reshape(-1, 4)}
