"""Multi-head attention (Vaswani et al., 2017).

Axes: B, T, H, K, D; G heads of keys and values; Q and S positions of queries and of keys.
"""

import inspect

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ablab.model import flex
from ablab.model.attention_activations.softmax import Softmax
from ablab.model.block_config import BlockConfig
from ablab.model.config import ACTIVATIONS, ATTENTION_ACTIVATIONS, NORMS, POSITIONS
from ablab.model.forward import Forward
from ablab.model.logits import LogitBias, Temperature
from ablab.model.parts import AttentionActivation, AttentionPosition, Pointwise, positions
from ablab.model.positions.alibi import Alibi


class Attention(nn.Module):
    """Each head sums its values by weights that are a function of q kᵀ / sqrt(K).

    Softmax takes torch's fused kernel where the engine asks for it, unless the scores or the
    pattern are tapped. All else is plain matrix products, which are the reference too.

    Args:
        config: The block's settings, with attention's own.
        n_keys: How many keys are read at most.
        causal: Whether a query sees the keys up to its own place alone.
    """

    def __init__(self, config: BlockConfig, n_keys: int, causal: bool) -> None:
        super().__init__()
        own = config.attention
        assert own is not None, "attention that is left out is not made"
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
        self.query_norm: nn.Module = NORMS.find(own.qk_norm)(self.d_head, config.bias)
        self.key_norm: nn.Module = NORMS.find(own.qk_norm)(self.d_head, config.bias)
        self.position = _attention_position(config)
        self.temperature = Temperature(own, config.n_heads)
        self.logit_bias = LogitBias(own, config.n_heads, n_keys)
        self.name = own.activation
        self.activation = make_attention_activation(own.activation)
        self.post_norm: nn.Module = NORMS.find(own.post_norm)(width, config.bias)
        self.projection = (
            nn.Linear(width, config.d_model, bias=config.bias) if own.output_projection else None
        )

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        forward: Forward,
        source: Float[Tensor, "B S D"] | None = None,
        *,
        first: int = 0,
    ) -> Float[Tensor, "B T D"]:
        """Attention's output for every position of ``x``.

        Args:
            x: Where queries come from; of the positions that are asked for.
            forward: The pass.
            source: Where keys and values come from (cross-attention); ``x`` itself by default.
            first: Where the first query stands among the keys of this pass.
        """
        source = x if source is None else source
        q = forward.site("q", self.query(x).unflatten(-1, (-1, self.d_head)))  # (B, T, H, K)
        k = forward.site("k", self.key(source).unflatten(-1, (-1, self.d_head)))  # (B, S, G, K)
        v = forward.site("v", self.value(source).unflatten(-1, (-1, self.d_head)))
        q, k = self._prepare(q, k, forward, first)
        if forward.cache is not None and self.causal:
            k, v = forward.cache.extend(forward.prefix, k, v)
        q, k, v = q.transpose(1, 2), self._for_each_head(k), self._for_each_head(v)
        q = self.temperature(q)  # (B, H, T, K)
        place = forward.past + first  # of the first query among all keys
        if self._has_kernel(q, forward, place):
            forward.visited.extend(forward.prefix + name for name in ("attn_scores", "pattern"))
            softmax = type(self.activation) is Softmax  # a user's subclass may be another function
            if softmax:
                mask, causal = self._mask(q, k, place)
                z = forward.kernels.attend(q, k, v, mask, causal)
            else:
                z = self._flex(q, k, v, forward)
        else:
            z = self._plain(q, k, v, forward, place)
        z = forward.site("z", z.transpose(1, 2)).flatten(-2)  # (B, T, H K)
        out: Tensor = self.post_norm(z)
        return out if self.projection is None else self.projection(out)

    def _prepare(self, q: Tensor, k: Tensor, forward: Forward, first: int) -> tuple[Tensor, Tensor]:
        """Queries and keys after activation, norm and rotation; at sites, if any is there."""
        rot_q = self.query_norm(self.qk_activation(q))
        rot_k = self.key_norm(self.qk_activation(k))
        if first:  # queries and keys of other positions, so each with one head of its own
            rot_q, _ = self.position.rotate(rot_q, rot_q[:, :, :1], forward.past + first)
            _, rot_k = self.position.rotate(rot_k[:, :, :1], rot_k, forward.past)
        else:
            rot_q, rot_k = self.position.rotate(rot_q, rot_k, forward.past)
        if rot_q is q and rot_k is k:
            return q, k
        return forward.site("rot_q", rot_q), forward.site("rot_k", rot_k)

    def _for_each_head(self, x: Float[Tensor, "B S G K"]) -> Float[Tensor, "B H S K"]:
        """Keys or values with each head of theirs repeated for the query heads that share it."""
        x = x.transpose(1, 2)  # (B, G, S, K)
        if self.n_kv_heads == self.n_heads:
            return x
        shared = self.n_heads // self.n_kv_heads
        return x.unsqueeze(2).expand(-1, -1, shared, -1, -1).flatten(1, 2)

    def _has_kernel(self, q: Tensor, forward: Forward, first: int) -> bool:
        """Whether a fused kernel does what is asked for: softmax's anywhere, others on CUDA."""
        tapped = forward.wants("attn_scores", "pattern")
        drops = self.p > 0.0 and self.training
        if tapped or drops or not forward.kernels.fused_attention:
            return False
        if type(self.activation) is Softmax:
            return True
        known = type(self.position).score_bias in (Alibi.score_bias, AttentionPosition.score_bias)
        fixed = self.logit_bias.learned is None and first == 0
        return known and fixed and q.is_cuda and flex.is_exact(self.name, q.dtype)

    def _flex(self, q: Tensor, k: Tensor, v: Tensor, forward: Forward) -> Tensor:
        """Attention with another activation by the engine's kernel."""
        slopes = tuple(self.position.slopes) if isinstance(self.position, Alibi) else ()
        terms = flex.Terms(self.logit_bias.fixed, slopes, self.causal, self.window)
        return forward.kernels.attend_by(self.name, q.to(v.dtype), k.to(v.dtype), v, terms)

    def _mask(self, q: Tensor, k: Tensor, first: int) -> tuple[Tensor | None, bool]:
        """What a fused kernel adds to the scores, and whether it hides later keys by itself."""
        added = self._score_bias(q, k, first)
        if self.causal and self.window is None and added is None and first == 0:
            return None, True
        hidden = self._hidden(q, k, first)
        if hidden is not None:
            shown = torch.zeros((), dtype=q.dtype, device=q.device) if added is None else added
            added = torch.where(hidden, -torch.inf, shown)
        return added, False

    def _plain(self, q: Tensor, k: Tensor, v: Tensor, forward: Forward, first: int) -> Tensor:
        """The same by plain matrix products, with the scores and the pattern at their sites."""
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
        """What the position adds to the scores of queries from ``first`` on."""
        queries = positions(first, q.shape[-2], q.device)
        added = self.position.score_bias(queries, positions(0, k.shape[-2], q.device))
        return None if added is None else added.to(q.dtype)

    def _hidden(self, q: Tensor, k: Tensor, first: int) -> Bool[Tensor, "Q S"] | None:
        """True where a query, of those from ``first`` on, does not see a key; None for nowhere."""
        if not self.causal or (self.window is None and first >= k.shape[-2] - 1):
            return None
        queries = torch.arange(first, first + q.shape[-2], device=q.device)
        keys = torch.arange(k.shape[-2], device=q.device)
        hidden = keys > queries[:, None]
        if self.window is not None:
            hidden = hidden | (keys <= queries[:, None] - self.window)
        return hidden


def make_attention_activation(name: str) -> AttentionActivation:
    """The attention activation of a name, or a user's own by import path.

    A user's own is a class of :class:`AttentionActivation`, or a function of the scores alone,
    whose hidden entries ablab sets to zero.
    """
    found = ATTENTION_ACTIVATIONS.find(name)
    if inspect.isclass(found):
        made = found()
        if not isinstance(made, AttentionActivation):
            raise ValueError(f"{name} is a class, but not one of ablab's AttentionActivation")
        return made
    return _Function(found)


class _Function(Pointwise):
    """A user's function of the scores; hidden ones are zero before it, too.

    So a function that overflows there has a gradient all the same.
    """

    def __init__(self, function: object) -> None:
        assert callable(function), "the configuration asks for what can be called"
        self._function = function

    def scores(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """The scores, zero where hidden."""
        return scores if hidden is None else scores.masked_fill(hidden, 0.0)

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """The function of each score."""
        result: Tensor = self._function(scores)
        return result


def _attention_position(config: BlockConfig) -> AttentionPosition:
    """What a position does in attention; those of the input do nothing there."""
    assert config.d_head is not None, "the configuration fills d_head"
    found = POSITIONS.find(config.position)
    cls = found if issubclass(found, AttentionPosition) else AttentionPosition
    position: AttentionPosition = cls(config.n_heads, config.d_head)
    return position
