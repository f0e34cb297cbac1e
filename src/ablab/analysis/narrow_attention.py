"""Attention over few positions with narrow heads, for many samples. Axes: B, H heads, Q, S, K.

torch's fused kernel on the CPU spends about half a microsecond on each head of each sample. A head
of width 4 over three positions needs less arithmetic than that: with the samples as the innermost
axis, whole vectors of samples are computed at once (decision 0034).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.flex import Terms
from ablab.model.forward import Kernels

_WIDEST = 8  # entries of a head; from 16 on, the fused kernel is as fast
_LONGEST = 16  # keys
_ENTRIES = 2**17  # of queries times keys at once, which fit into the cache
_FEWEST = 256  # samples of a pass that is not stacked


class NarrowKernels(Kernels):
    """Kernels that compute attention over few positions themselves.

    Args:
        other: The kernels for everything else.
        stacked: Whether they are called under ``torch.vmap``, for many models at once.
    """

    def __init__(self, other: Kernels, *, stacked: bool) -> None:
        self._other = other
        self._fewest = 1 if stacked else _FEWEST

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Softmax attention; see :meth:`ablab.model.forward.Kernels.attend`."""
        samples, heads, _, width = q.shape
        keys = k.shape[-2]
        if samples < self._fewest or width > _WIDEST or keys > _LONGEST:
            return self._other.attend(q, k, v, mask, causal)
        count = max(1, _ENTRIES // (heads * keys * width))
        if samples <= count:
            return narrow_attention(q, k, v, mask, causal)
        found = []
        for start in range(0, samples, count):
            rows = slice(start, start + count)
            found.append(narrow_attention(q[rows], k[rows], v[rows], mask, causal))
        return torch.cat(found)

    def attend_by(self, activation: str, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> Tensor:
        """Attention with another activation; that of the other kernels."""
        return self._other.attend_by(activation, q, k, v, terms)

    def embed(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Looks up embeddings; that of the other kernels."""
        return self._other.embed(tokens, table)


def narrow_attention(
    q: Float[Tensor, "B H Q K"],
    k: Float[Tensor, "B H S K"],
    v: Float[Tensor, "B H S K"],
    mask: Float[Tensor, "*H Q S"] | None,
    causal: bool,
) -> Float[Tensor, "B H Q K"]:
    """Softmax attention, query by query with samples innermost.

    The arguments are those of :meth:`ablab.model.forward.Kernels.attend`.
    """
    q, k, v = (x.permute(2, 1, 3, 0).contiguous() for x in (q, k, v))  # (T, H, K, B)
    q = q * q.shape[2] ** -0.5
    rows = []
    for query in range(len(q)):
        seen = query + 1 if causal else len(k)
        scores = (q[query] * k[:seen]).sum(2)  # (S, H, B)
        if mask is not None:
            own = mask[..., query, :].movedim(-1, 0)  # (S,) or (S, H)
            scores = scores + own.reshape(seen, -1, 1)
        weights = torch.softmax(scores, 0)
        rows.append((weights.unsqueeze(2) * v[:seen]).sum(0))  # (H, K, B)
    return torch.stack(rows).permute(3, 1, 0, 2)
