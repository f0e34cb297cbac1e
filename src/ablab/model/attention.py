"""Multi-head attention (Vaswani et al., 2017).

Axes: B, T, H, K, D; G key and value heads; Q query positions; S key positions.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ablab.config.own_parts import check_arguments, part_error
from ablab.model import flex
from ablab.model.block_config import BlockConfig
from ablab.model.config import ACTIVATIONS, ATTENTION_ACTIVATIONS
from ablab.model.find_position import find_position
from ablab.model.forward import Forward
from ablab.model.logits import LogitBias, Temperature
from ablab.model.norm import block_norm, normalized
from ablab.model.parts import AttentionActivation, AttentionPosition, Pointwise, positions
from ablab.model.roles import Role, claim

_QK_NORM, _POST_NORM = "model.attention.qk_norm", "model.attention.post_norm"


@dataclass(frozen=True)
class Inputs:
    """What queries, keys and values are computed from.

    Each is common to all heads, (B, T, D), or has one vector per head: (B, T, H, D) for queries,
    (B, S, G, D) for keys and values.
    """

    q: Tensor
    k: Tensor
    v: Tensor


class Attention(nn.Module):
    """Each head computes a sum of values, weighted by a function of q kᵀ / sqrt(K).

    Uses a fused kernel if there is one for the activation and the engine supports it, unless the
    scores or the pattern are tapped. Otherwise it uses plain matrix products, the reference.

    Args:
        config: The block's settings, including those of attention.
        n_keys: The maximum number of keys.
        causal: Whether a query only sees keys up to its own position.

    Attributes:
        kernel: The fused kernel that computes its activation exactly; None if there is none.
    """

    ablab_roles: ClassVar = {"projection.weight": Role.RESIDUAL_OUTPUT}
    ablab_position_wise = True

    def __init__(self, config: BlockConfig, n_keys: int, causal: bool) -> None:
        super().__init__()
        own = config.attention
        assert own is not None, "a block without attention does not create it"
        assert config.d_head is not None, "the configuration fills d_head"
        assert own.bias is not None, "the configuration fills attention.bias"
        self.n_heads, self.d_head = config.n_heads, config.d_head
        self.n_kv_heads = own.n_kv_heads or config.n_heads
        self.causal, self.window, self.p = causal, own.window, own.dropout
        width, kv_width = self.n_heads * self.d_head, self.n_kv_heads * self.d_head
        self.query = nn.Linear(config.d_model, width, bias=own.bias)
        self.key = nn.Linear(config.d_model, kv_width, bias=own.bias)
        self.value = nn.Linear(config.d_model, kv_width, bias=own.bias)
        self.qk_activation: nn.Module = ACTIVATIONS.find(own.qk_activation)()
        self.query_norm = block_norm(config, own.qk_norm, self.d_head, _QK_NORM)
        self.key_norm = block_norm(config, own.qk_norm, self.d_head, _QK_NORM)
        self.position = _attention_position(config)
        self.temperature = Temperature(own, config.n_heads)
        self.logit_bias = LogitBias(own, config.n_heads, n_keys)
        self.activation = make_attention_activation(own.activation)
        self.kernel: str | None = claim(
            type(self.activation), "kernel", "scores", "weights", "weigh"
        )
        self.post_norm = block_norm(config, own.post_norm, width, _POST_NORM)
        self.projection = (
            nn.Linear(width, config.d_model, bias=config.bias) if own.output_projection else None
        )

    def forward(
        self,
        inputs: Inputs,
        forward: Forward,
        *,
        first: int = 0,
    ) -> Float[Tensor, "B T D"]:
        """The output of attention for every query position.

        Args:
            inputs: What queries, keys and values are computed from.
            forward: The pass.
            first: The position of the first query among the keys of this pass.
        """
        q = forward.site("q", self._by_head(self.query, inputs.q))  # (B, T, H, K)
        k = forward.site("k", self._by_head(self.key, inputs.k))  # (B, S, G, K)
        v = forward.site("v", self._by_head(self.value, inputs.v))
        q, k = self._prepare(q, k, forward, first)
        if forward.cache is not None and self.causal:
            k, v = forward.cache.extend(forward.prefix, k, v)
        q, k, v = q.transpose(1, 2), self._for_each_head(k), self._for_each_head(v)
        q = self.temperature(q)  # (B, H, T, K)
        place = forward.past + first  # the position of the first query among all keys
        if self._has_kernel(q, v, forward, place):
            forward.visited.extend(forward.prefix + name for name in ("attn_scores", "pattern"))
            if self.kernel == "softmax":
                mask, causal = self._mask(q, k, place)
                z = forward.kernels.attend(q, k, v, mask, causal)
            else:
                z = self._flex(q, k, v, forward)
        else:
            z = self._plain(q, k, v, forward, place)
        z = forward.site("z", z.transpose(1, 2)).flatten(-2)  # (B, T, H K)
        z = normalized(self.post_norm, z)
        if forward.wants("result"):
            return self._sum_of(forward.site("result", self._results(z)))
        out: Tensor = z if self.projection is None else self.projection(z)
        return out

    def _by_head(
        self, layer: nn.Linear, x: Float[Tensor, "B T D"] | Float[Tensor, "B T H D"]
    ) -> Float[Tensor, "B T H K"]:
        """The output of a layer for each head, from a common input or one per head."""
        out: Tensor
        if x.ndim == 3:
            out = layer(x).unflatten(-1, (-1, self.d_head))
            return out
        weight = layer.weight.reshape(-1, self.d_head, x.shape[-1])  # (H, K, D)
        out = torch.einsum("bthd,hkd->bthk", x, weight)
        return out if layer.bias is None else out + layer.bias.reshape(-1, self.d_head)

    def _results(self, z: Float[Tensor, "B T HK"]) -> Float[Tensor, "B T H D"]:
        """What each head adds to the output; without an output projection, its own entries."""
        weight = (
            torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
            if self.projection is None
            else self.projection.weight
        )  # (D, H K)
        each = z.reshape(*z.shape[:-1], self.n_heads, self.d_head)
        return torch.einsum("bthk,dhk->bthd", each, weight.reshape(-1, self.n_heads, self.d_head))

    def _sum_of(self, results: Float[Tensor, "B T H D"]) -> Float[Tensor, "B T D"]:
        """The output, from what each head adds to it."""
        bias = None if self.projection is None else self.projection.bias
        return results.sum(-2) if bias is None else results.sum(-2) + bias

    def _prepare(self, q: Tensor, k: Tensor, forward: Forward, first: int) -> tuple[Tensor, Tensor]:
        """Queries and keys after activation, norm and rotation, at their sites if they changed."""
        rot_q = normalized(self.query_norm, self.qk_activation(q))
        rot_k = normalized(self.key_norm, self.qk_activation(k))
        if first:  # rotate queries and keys separately, because their positions differ
            rot_q, _ = self.position.rotate(rot_q, rot_q[:, :, :1], forward.past + first)
            _, rot_k = self.position.rotate(rot_k[:, :, :1], rot_k, forward.past)
        else:
            rot_q, rot_k = self.position.rotate(rot_q, rot_k, forward.past)
        if rot_q is q and rot_k is k:
            return q, k
        return forward.site("rot_q", rot_q), forward.site("rot_k", rot_k)

    def _for_each_head(self, x: Float[Tensor, "B S G K"]) -> Float[Tensor, "B H S K"]:
        """Repeats each key or value head for the query heads that share it."""
        x = x.transpose(1, 2)  # (B, G, S, K)
        if self.n_kv_heads == self.n_heads:
            return x
        shared = self.n_heads // self.n_kv_heads
        return x.unsqueeze(2).expand(-1, -1, shared, -1, -1).flatten(1, 2)

    def _has_kernel(self, q: Tensor, v: Tensor, forward: Forward, first: int) -> bool:
        """Whether a fused kernel can compute this pass: softmax on any device, others on CUDA."""
        tapped = forward.wants("attn_scores", "pattern")
        drops = self.p > 0.0 and self.training
        if self.kernel is None or tapped or drops or not forward.kernels.fused_attention:
            return False
        divisor = self.temperature.bias_divisor
        if divisor is None and self._score_bias(q[..., :1, :], q[..., :1, :], 0) is not None:
            return False  # its gradient would be that of a kernel's mask
        if self.kernel == "softmax":
            return True
        known: bool = claim(type(self.position), "score_bias_is_slopes", "score_bias") is True
        fixed = self.logit_bias.learned is None and first == 0
        # It runs in the precision of the values, also where a norm made queries more precise.
        return known and fixed and q.is_cuda and flex.is_exact(self.kernel, v.dtype, self.d_head)

    def _flex(self, q: Tensor, k: Tensor, v: Tensor, forward: Forward) -> Tensor:
        """Attention with another activation than softmax, by a fused kernel."""
        assert self.kernel is not None, "_has_kernel was true"
        divisor = self.temperature.bias_divisor or 1.0  # without slopes if it is learned
        slopes = tuple(slope / divisor for slope in self.position.slopes)
        terms = flex.Terms(self.logit_bias.fixed, slopes, self.causal, self.window)
        return forward.kernels.attend_by(self.kernel, q.to(v.dtype), k.to(v.dtype), v, terms)

    def _mask(self, q: Tensor, k: Tensor, first: int) -> tuple[Tensor | None, bool]:
        """The mask that a fused kernel adds to the scores, and whether to use its causal mode."""
        added = self._score_bias(q, k, first)
        if self.causal and self.window is None and added is None and first == 0:
            return None, True
        hidden = self._hidden(q, k, first)
        if hidden is not None:
            shown = torch.zeros((), dtype=q.dtype, device=q.device) if added is None else added
            added = torch.where(hidden, -torch.inf, shown)
        return added, False

    def _plain(self, q: Tensor, k: Tensor, v: Tensor, forward: Forward, first: int) -> Tensor:
        """Attention by plain matrix products; scores and pattern pass their sites."""
        scores = (q @ k.transpose(-1, -2)) * self.d_head**-0.5  # (B, H, T, S)
        scores = self.logit_bias(scores)
        added = self._score_bias(q, k, first)
        if added is not None:
            scores = scores + added
        hidden = self._hidden(q, k, first)
        scores = forward.site("attn_scores", self.activation.scores(scores, hidden))
        pattern = forward.site("pattern", self.activation.weights(scores, hidden))
        pattern = forward.dropout(pattern, self.p, self.training)
        return pattern.to(v.dtype) @ v

    def _score_bias(self, q: Tensor, k: Tensor, first: int) -> Float[Tensor, "H Q S"] | None:
        """The bias of the position encoding for the scores of queries from ``first`` on."""
        queries = positions(first, q.shape[-2], q.device)
        added = self.position.score_bias(queries, positions(0, k.shape[-2], q.device))
        return None if added is None else self.temperature.divide_bias(added.to(q.dtype))

    def _hidden(self, q: Tensor, k: Tensor, first: int) -> Bool[Tensor, "Q S"] | None:
        """True where a query from ``first`` on does not see a key; None if all see all keys."""
        if not self.causal or (self.window is None and first >= k.shape[-2] - 1):
            return None
        queries = torch.arange(first, first + q.shape[-2], device=q.device)
        keys = torch.arange(k.shape[-2], device=q.device)
        hidden = keys > queries[:, None]
        if self.window is not None:
            hidden = hidden | (keys <= queries[:, None] - self.window)
        return hidden


def make_attention_activation(name: str) -> AttentionActivation:
    """The attention activation of that name or import path.

    An import path refers to a subclass of :class:`AttentionActivation`, or to a function of the
    scores, whose hidden entries ablab sets to zero.

    Raises:
        InputError: The class is not an attention activation, or the function has other arguments.
    """
    found = ATTENTION_ACTIVATIONS.find(name)
    if inspect.isclass(found):
        if not issubclass(found, AttentionActivation):
            what = "is not a subclass of ablab's AttentionActivation"
            raise part_error(_KEY, name, what, *_LINES)
        return found()
    check_arguments(found, ["scores"], name, _KEY, *_LINES)
    return _Function(found, name)


_KEY = "model.attention.activation"
_LINES = ("def my_activation(scores):  # any shape", "    return torch.relu(scores)")


class _Function(Pointwise):
    """A user's function of the scores. Hidden entries are set to zero before and after it.

    Setting them to zero before it keeps gradients finite if the function would overflow there.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self._function, self._name = function, name

    def scores(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """The scores, zero where hidden."""
        return scores if hidden is None else torch.where(hidden, 0.0, scores)

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """The function of each score.

        Raises:
            InputError: It gives something of another shape.
        """
        result = self._function(scores)
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        if shape != tuple(scores.shape):
            what = f"gives {shape} for scores of shape {tuple(scores.shape)}"
            raise part_error(_KEY, self._name, f"{what}; expected the same shape", *_LINES)
        return result


def _attention_position(config: BlockConfig) -> AttentionPosition:
    """The position encoding of attention, which does nothing for encodings of the input."""
    assert config.d_head is not None, "the configuration fills d_head"
    found = find_position(config.position)
    cls = found if issubclass(found, AttentionPosition) else AttentionPosition
    position: AttentionPosition = cls(config.n_heads, config.d_head)
    return position
