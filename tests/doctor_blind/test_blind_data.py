"""The data themselves: they run, and each mistake changes what its correct sibling does."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.doctor_blind.bugs_tasks import BUGS as TASKS
from tests.doctor_blind.healthy_models import HEALTHY
from tests.doctor_blind.registry import BUGS

MODELS = [bug for bug in BUGS if issubclass(bug.factory, nn.Module)]


def test_names_are_unique_and_words_are_expressions():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 75
    for bug in BUGS:
        assert bug.words
        for word in bug.words:
            re.compile(word)


@pytest.mark.parametrize("case", [*MODELS, *HEALTHY], ids=lambda case: case.name)
def test_a_model_runs_and_its_loss_has_a_gradient(case):
    torch.manual_seed(0)
    model = case.factory()
    tokens = torch.randint(0, 16, (3, 10))
    logits = model(tokens.clone())
    assert (logits.shape == (3, 10, 16)) == getattr(case, "shape", True)
    finite = getattr(case, "finite", True)
    assert bool(logits.isfinite().all()) == finite
    if finite and logits.shape[-1] == 16:
        F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("bug", TASKS, ids=lambda bug: bug.name)
def test_a_task_draws_batches(bug):
    task = bug.factory(bug.factory.Config())
    batch = task.draw(0, 1, 2, 4)
    assert batch.tokens.shape[:2] == batch.targets.shape[:2] == (2, 4)
    assert np.issubdtype(task.held_out(8).tokens.dtype, np.integer)


def behaviour(model, training):
    """Logits, gradients and tokens after two calls, as a list of tensors."""
    torch.manual_seed(2)
    tokens = torch.randint(1, 16, (3, 10), generator=torch.Generator().manual_seed(1))
    tokens[0, 3] = 0
    model.train(training)
    found = [model(tokens).detach()]
    logits = model(tokens)
    if logits.requires_grad and logits.shape[-1] == 16:
        logits.logsumexp(-1).mean().backward()
    grads = [p.grad if p.grad is not None else torch.zeros(1) for p in model.parameters()]
    return [*found, logits.detach(), tokens, *grads]


@pytest.mark.parametrize("bug", [b for b in MODELS if b.sibling], ids=lambda bug: bug.name)
def test_a_mistake_changes_what_the_model_does(bug):
    torch.manual_seed(0)
    pair = [bug.factory(), bug.sibling()]
    state, own = pair[1].state_dict(), pair[0].state_dict()
    same = {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}
    if same and not bug.fresh and bug.name not in {"tied by data", "shared block"}:
        pair[0].load_state_dict(state)
    changed = []
    for training in (True, False):
        wrong, right = (behaviour(model, training) for model in pair)
        changed.append(
            len(wrong) != len(right)
            or any(
                a.shape != b.shape or not torch.allclose(a, b, atol=1e-6)
                for a, b in zip(wrong, right, strict=True)
            )
        )
    assert any(changed)
