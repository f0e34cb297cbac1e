"""Rules for a trailing batch axis, each beside torch's own batching."""

import pytest
import torch
from torch.nn import functional as F

from ablab.train.innermost import NoRuleError, run_samples, trace_sample

B = 5
W = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


FUNCTIONS = {
    "linear": lambda w, x: F.linear(x, w),
    "left product": lambda w, x: w @ x.transpose(-1, -2)[0],
    "own products": lambda w, x: x @ x.transpose(-1, -2),
    "heads": lambda w, x: torch.bmm(x.reshape(3, 1, 6), w[:3].unsqueeze(-1)),
    "softmax": lambda w, x: x.softmax(1),
    "log_softmax": lambda w, x: x.log_softmax(-1),
    "layer norm": lambda w, x: F.layer_norm(x, (6,), w[0], w[1]),
    "rms norm": lambda w, x: F.rms_norm(x, (6,), w[0]),
    "broadcast": lambda w, x: x[:, 0] * w[0] + x.sum(),
    "reductions": lambda w, x: x.amax(1) + x.mean(dim=(0, 1)) - x.amin(-1, keepdim=True),
    "all": lambda w, x: x.mean() + x.sum(),
    "views": lambda w, x: x.permute(2, 0, 1).unsqueeze(1).squeeze(1).flatten(0, 1),
    "cuts": lambda w, x: x.select(1, 2) + x[:, 1:2, :].squeeze(1) + x.unbind(1)[0],
    "split": lambda w, x: torch.cat(x.split([2, 4], -1)[::-1], -1) + x.flip(-1),
    "join": lambda w, x: torch.cat([x[0], w], 0),
    "stack": lambda w, x: torch.stack([x, 2 * x], -1),
    "expand": lambda w, x: x.unsqueeze(0).expand(2, -1, -1, -1) + x[:, :1].expand_as(x),
    "any": lambda w, x: torch.where((x > 1).any(-1, keepdim=True), x, torch.full_like(x, 2.0)),
    "attention": lambda w, x: F.scaled_dot_product_attention(x, 2 * x, x, is_causal=True),
    "scan": lambda w, x: x.cumsum(-1),
    "pointwise": lambda w, x: F.gelu(x) + F.silu(x) + x.tanh() + x.masked_fill(x > 0, 1.0),
    "cast": lambda w, x: x.double().clone().detach() * 2,
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_each_rule_is_torchs_own_batching(function):
    x = drawn(B, 3, 6)
    graph = trace_sample(lambda w, sample: {"y": function(w, sample[None])}, [W], [x[0]])
    found = run_samples(graph, [W], [x.movedim(0, -1)])[0].movedim(-1, 0)
    expected = torch.stack([function(W, sample[None]) for sample in x])
    torch.testing.assert_close(found, expected)


def test_lookups_are_products_with_the_same_gradient():
    tokens = torch.tensor([[0, 3, 1], [2, 2, 0]])
    targets = torch.tensor([[1, 5, 0], [2, 3, 4]])

    def loss(table, tokens, targets):
        return F.cross_entropy(F.embedding(tokens[None], table)[0], targets)

    graph = trace_sample(lambda *all: {"loss": loss(*all)}, [W], [tokens[0], targets[0]])
    mine, theirs = W.clone().requires_grad_(), W.clone().requires_grad_()
    run_samples(graph, [mine], [tokens.t(), targets.t()])[0].mean().backward()
    sum(loss(theirs, *sample) / 2 for sample in zip(tokens, targets, strict=True)).backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_an_operation_without_a_rule_is_named():
    x = drawn(B, 3, 6)
    graph = trace_sample(lambda w, sample: {"y": sample.sort(dim=-1).values}, [W], [x[0]])
    with pytest.raises(NoRuleError, match="sort"):
        run_samples(graph, [W], [x.movedim(0, -1)])


def test_a_loss_that_ignores_its_sample_is_named():
    graph = trace_sample(lambda w, sample: {"loss": w.sum()}, [W], [drawn(3)])
    with pytest.raises(NoRuleError, match="does not depend"):
        run_samples(graph, [W], [drawn(3, B)])


def test_what_is_detached_has_no_gradient():
    x = drawn(3, 6)
    graph = trace_sample(
        lambda w, x: {"loss": (w[0] * x).sum() + (w[1] * x).detach().sum()}, [W], [x[0]]
    )
    w = W.clone().requires_grad_()
    (found,) = run_samples(graph, [w], [x.T])
    (grad,) = torch.autograd.grad(found.sum(), w)
    torch.testing.assert_close(grad[0], x.sum(0))
    assert (grad[1:] == 0).all()
