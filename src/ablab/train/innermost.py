"""A model's loss with the batch as the innermost, contiguous axis.

On a CPU, the lanes of a vector unit then run over samples, independent of the sizes of the model.
Model code keeps its usual axes: it is traced for one sample, and the traced operations run on
tensors with the batch as an additional last axis. Because the other axes do not move, the rule of
most operations is the operation itself.

Axes: B batch (always the last), N, K, M the axes of a matrix product, V vocabulary.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from ablab.model import torch_internals

aten = torch.ops.aten


class NoRuleError(Exception):
    """An operation of the model has no rule for a trailing batch axis."""


@dataclass(frozen=True)
class Samples:
    """The tensors of all samples, as one tensor (…, B)."""

    tensor: Tensor

    @property
    def ndim(self) -> int:
        """The number of axes of one sample's tensor."""
        return self.tensor.ndim - 1

    def axis(self, dim: int) -> int:
        """An axis as a non-negative index."""
        return dim % max(1, self.ndim)

    def axes(self, dims: Sequence[int] | int | None) -> list[int]:
        """Axes as non-negative indices; all axes if none are given."""
        if dims is None or (not isinstance(dims, int) and len(dims) == 0):
            return list(range(self.ndim))
        return [self.axis(dim) for dim in ([dims] if isinstance(dims, int) else dims)]


def trace_sample(
    function: Callable[..., dict[str, Tensor]], shared: Sequence[Tensor], own: Sequence[Tensor]
) -> fx.GraphModule:
    """Traces ``function(*shared, *own)`` for one sample.

    Args:
        function: A function of tensors with a batch of one; returns results by name, loss first.
        shared: Tensors that all samples share, such as parameters.
        own: The tensors of one sample, without a batch axis.
    """
    table = {
        op: rule
        for op, rule in torch_internals.core_decompositions().items()
        if op not in _RULES and torch.Tag.pointwise not in op.tags
    }
    with torch.no_grad():
        return torch_internals.trace(function, [*shared, *own], table)


def result_names(graph: fx.GraphModule) -> list[str]:
    """The names of a traced function's results."""
    return list(_results(graph))


def shared_results(graph: fx.GraphModule, n_shared: int) -> list[str]:
    """The names of a traced function's results that do not depend on the sample."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    reached = set(inputs[n_shared:])
    for node in graph.graph.nodes:
        if any(each in reached for each in node.all_input_nodes):
            reached.add(node)
    return [name for name, node in _results(graph).items() if node not in reached]


def _results(graph: fx.GraphModule) -> dict[str, fx.Node]:
    (output,) = [node for node in graph.graph.nodes if node.op == "output"]
    return dict(output.args[0])


def run_samples(
    graph: fx.GraphModule, shared: Sequence[Tensor], own: Sequence[Tensor]
) -> list[Tensor]:
    """Runs a traced function on many samples at once; the result is differentiable.

    Args:
        graph: The output of :func:`trace_sample`.
        shared: The shared tensors, as for :func:`trace_sample`.
        own: The tensors of the samples, each with the trailing axis B.

    Returns:
        The results of the function, with the trailing axis B.

    Raises:
        NoRuleError: An operation has no rule.
    """
    found = _Interpreter(graph).run(*shared, *(Samples(tensor) for tensor in own))
    results = list(found.values())
    if not isinstance(results[0], Samples):
        raise NoRuleError("the loss does not depend on the sample")
    batch = results[0].tensor.shape[-1]
    # A result that does not depend on the sample is the same for all samples.
    return [
        each.tensor if isinstance(each, Samples) else each.unsqueeze(-1).expand(*each.shape, batch)
        for each in results
    ]


class _Interpreter(fx.Interpreter):
    """Runs the graph of one sample on the tensors of many."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        tree_leaves, _ = torch_internals.tree_functions()
        if target is operator.getitem or not any(
            isinstance(leaf, Samples) for leaf in tree_leaves((args, kwargs))
        ):
            return target(*args, **kwargs)
        rule = _RULES.get(target)
        if rule is not None:
            return rule(target, *args, **kwargs)
        if torch.Tag.pointwise in target.tags:
            return _pointwise(target, *args, **kwargs)
        raise NoRuleError(f"{target} has no rule for a trailing batch axis")


_RULES: dict[Any, Callable[..., Any]] = {}


def _rule(*targets: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for target in targets:
            _RULES[target] = function
        return function

    return register


def _aligned(value: Any) -> Any:
    """An operand with the batch as its last axis, of size one for shared tensors."""
    if isinstance(value, Samples):
        return value.tensor
    return value.unsqueeze(-1) if isinstance(value, Tensor) and value.ndim else value


def _pointwise(op: Any, *args: Any, **kwargs: Any) -> Samples:
    tree_leaves, tree_map_only = torch_internals.tree_functions()
    leaves = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Samples | Tensor)]
    rank = max(leaf.ndim for leaf in leaves)

    def operand(value: Any) -> Any:
        tensor = _aligned(value)
        # Broadcasting adds axes on the left; a tensor with fewer axes needs them explicitly.
        return tensor[(None,) * (rank - value.ndim)] if value.ndim else tensor

    args = tree_map_only((Samples, Tensor), operand, args)
    return Samples(op(*args, **kwargs))


@_rule(aten.clone.default, aten.alias.default, aten.lift_fresh_copy.default)
def _same(op: Any, x: Samples, **_: Any) -> Samples:
    return x


@_rule(aten.detach.default)
def _detach(op: Any, x: Samples) -> Samples:
    return Samples(x.tensor.detach())


@_rule(aten._to_copy.default)
def _cast(op: Any, x: Samples, *, dtype: torch.dtype | None = None, **_: Any) -> Samples:
    return x if dtype is None else Samples(x.tensor.to(dtype))


@_rule(aten.view.default, aten._unsafe_view.default, aten.reshape.default)
def _view(op: Any, x: Samples, shape: Sequence[int]) -> Samples:
    return Samples(x.tensor.reshape([*shape, x.tensor.shape[-1]]))


@_rule(aten.expand.default)
def _expand(op: Any, x: Samples, shape: Sequence[int], **_: Any) -> Samples:
    tensor = x.tensor[(None,) * (len(shape) - x.ndim)]
    return Samples(tensor.expand([*shape, -1]))


@_rule(aten.permute.default)
def _permute(op: Any, x: Samples, dims: Sequence[int]) -> Samples:
    return Samples(x.tensor.permute([*x.axes(dims), x.ndim]))


@_rule(aten.t.default)
def _t(op: Any, x: Samples) -> Samples:
    return Samples(x.tensor.transpose(0, 1)) if x.ndim == 2 else x


@_rule(aten.transpose.int)
def _transpose(op: Any, x: Samples, a: int, b: int) -> Samples:
    return Samples(x.tensor.transpose(x.axis(a), x.axis(b)))


@_rule(aten.unsqueeze.default)
def _unsqueeze(op: Any, x: Samples, dim: int) -> Samples:
    return Samples(x.tensor.unsqueeze(dim % (x.ndim + 1)))


@_rule(aten.squeeze.dim, aten.squeeze.dims)
def _squeeze(op: Any, x: Samples, dims: Any) -> Samples:
    return Samples(op(x.tensor, x.axis(dims) if isinstance(dims, int) else x.axes(dims)))


@_rule(aten.slice.Tensor)
def _slice(op: Any, x: Samples, dim: int = 0, *bounds: Any) -> Samples:
    return Samples(op(x.tensor, x.axis(dim), *bounds))


@_rule(
    aten.select.int, aten.unbind.int, aten.split.Tensor, aten.split_with_sizes.default,
    aten.flip.default,
)  # fmt: skip
def _cut(op: Any, x: Samples, *args: Any) -> Any:
    if op is aten.unbind.int:
        found = op(x.tensor, x.axis(args[0] if args else 0))
    elif op in (aten.split.Tensor, aten.split_with_sizes.default):
        found = op(x.tensor, args[0], x.axis(args[1] if len(args) > 1 else 0))
    elif op is aten.flip.default:
        found = op(x.tensor, x.axes(args[0]))
    else:
        found = op(x.tensor, x.axis(args[0]), args[1])
    return Samples(found) if isinstance(found, Tensor) else [Samples(each) for each in found]


@_rule(aten.cat.default, aten.stack.default)
def _join(op: Any, parts: Sequence[Any], dim: int = 0) -> Samples:
    samples = next(part for part in parts if isinstance(part, Samples))
    batch = samples.tensor.shape[-1]
    tensors = [
        part.tensor if isinstance(part, Samples) else part.unsqueeze(-1).expand(*part.shape, batch)
        for part in parts
    ]
    ranks = samples.ndim + (op is aten.stack.default)
    return Samples(op(tensors, dim % ranks))


@_rule(aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default)
def _reduce(op: Any, x: Samples, dims: Any = None, keepdim: bool = False, **kwargs: Any) -> Samples:
    return Samples(op(x.tensor, x.axes(dims), keepdim, **kwargs))


@_rule(aten.sum.default, aten.mean.default)
def _reduce_all(op: Any, x: Samples, **kwargs: Any) -> Samples:
    by_axis = aten.sum.dim_IntList if op is aten.sum.default else aten.mean.dim
    return Samples(by_axis(x.tensor, x.axes(None), **kwargs)) if x.ndim else x


@_rule(aten.any.dim)
def _any(op: Any, x: Samples, dim: int, keepdim: bool = False) -> Samples:
    return Samples(op(x.tensor, x.axis(dim), keepdim))


@_rule(aten.full_like.default)
def _full_like(op: Any, x: Samples, value: Any, **kwargs: Any) -> Samples:
    return Samples(op(x.tensor, value, **kwargs))


@_rule(aten.cumsum.default)
def _scan(op: Any, x: Samples, dim: int, **kwargs: Any) -> Samples:
    return Samples(op(x.tensor, x.axis(dim), **kwargs))


@_rule(aten._softmax.default)
def _softmax(op: Any, x: Samples, dim: int, half_to_float: bool) -> Samples:
    axis = x.axis(dim)
    powers = (x.tensor - x.tensor.detach().amax(axis, keepdim=True)).exp()
    return Samples(powers / powers.sum(axis, keepdim=True))


@_rule(aten._log_softmax.default)
def _log_softmax(op: Any, x: Samples, dim: int, half_to_float: bool) -> Samples:
    axis = x.axis(dim)
    shifted = x.tensor - x.tensor.detach().amax(axis, keepdim=True)
    return Samples(shifted - shifted.exp().sum(axis, keepdim=True).log())


@_rule(aten.native_layer_norm.default)
def _layer_norm(
    op: Any, x: Samples, shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> tuple[Samples, None, None]:
    axes = list(range(x.ndim - len(shape), x.ndim))
    exact = x.tensor.float() if x.tensor.dtype.itemsize < 4 else x.tensor  # as torch's kernel
    centred = exact - exact.mean(axes, keepdim=True)
    normed = centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)
    if weight is not None:
        normed = normed * _aligned(weight)
    if bias is not None:
        normed = normed + _aligned(bias)
    return Samples(normed.to(x.tensor.dtype)), None, None


@_rule(aten.nll_loss_forward.default)
def _nll_loss(
    op: Any, log_p: Samples, target: Samples, weight: Any, reduction: int, ignore_index: int
) -> tuple[Samples, None]:
    if weight is not None or reduction not in (0, 1) or log_p.ndim != 2:
        raise NoRuleError("a loss with class weights or summed has no rule")
    hot = _one_hot(target.tensor, log_p.tensor.shape[1]).transpose(0, 1)  # (N, V, B)
    losses = -torch.where(hot, log_p.tensor, 0.0).sum(1)  # (N, B)
    return Samples(losses.mean(0) if reduction == 1 else losses), None


@_rule(aten.embedding.default)
def _embedding(op: Any, table: Tensor, tokens: Samples, *_: Any) -> Samples:
    """Looks up rows as a product with one-hot vectors, so that the gradient is a product too."""
    flat = tokens.tensor.reshape(-1, tokens.tensor.shape[-1])  # (N, B)
    hot = _one_hot(flat, table.shape[0]).to(table.dtype).transpose(0, 1)  # (N, V, B)
    rows = _product(table.t(), hot)  # (N, D, B)
    return Samples(rows.reshape(*tokens.tensor.shape[:-1], table.shape[1], -1))


def _one_hot(tokens: Tensor, size: int) -> Tensor:
    """One-hot vectors as booleans: (V, N, B) for tokens (N, B)."""
    return tokens == torch.arange(size, device=tokens.device)[:, None, None]


def _product(weights: Tensor, x: Tensor) -> Tensor:
    """The product of (M, K) with each of (N, K, B), as (N, M, B).

    This is one batched product, because ``matmul`` would fold N into B, which copies ``x``.
    """
    return torch.bmm(weights.expand(x.shape[0], *weights.shape), x)


@_rule(aten.mm.default)
def _mm(op: Any, a: Any, b: Any) -> Samples:
    if isinstance(a, Samples) and isinstance(b, Samples):
        return Samples((a.tensor.unsqueeze(2) * b.tensor.unsqueeze(0)).sum(1))
    if isinstance(a, Samples):  # (N, K, B) and (K, M)
        return Samples(_product(b.t(), a.tensor))
    inner, columns, batch = b.tensor.shape  # (N, K) and (K, M, B)
    return Samples((a @ b.tensor.reshape(inner, -1)).reshape(-1, columns, batch))


@_rule(aten.addmm.default)
def _addmm(op: Any, bias: Any, a: Any, b: Any) -> Samples:
    return _pointwise(aten.add.Tensor, _mm(op, a, b), bias)


@_rule(aten.bmm.default)
def _bmm(op: Any, a: Any, b: Any) -> Samples:
    if isinstance(a, Samples) and isinstance(b, Samples):
        return Samples((a.tensor.unsqueeze(3) * b.tensor.unsqueeze(1)).sum(2))
    if isinstance(a, Samples):  # (H, N, K, B) and (H, K, M)
        heads, rows, inner, batch = a.tensor.shape
        weights = b.transpose(1, 2).unsqueeze(1).expand(heads, rows, -1, inner)
        product = torch.bmm(weights.reshape(heads * rows, -1, inner), a.tensor.flatten(0, 1))
        return Samples(product.reshape(heads, rows, -1, batch))
    heads, inner, columns, batch = b.tensor.shape  # (H, N, K) and (H, K, M, B)
    product = torch.bmm(a, b.tensor.reshape(heads, inner, -1))
    return Samples(product.reshape(heads, -1, columns, batch))
