"""A model of one block, written in effective matrices. Axes: N samples, L positions, H, S, M, V.

Its logits at one position are computed from folded weights alone, without the model, as sums over
its paths. So paths can be left out one by one. The L positions are those up to that position, and
the S sources of queries, keys and values are tokens, positions, and the constant 1, by which biases
enter. Products of more than two matrices are computed from the left, which is faster and the same.
"""

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.analysis.methods.folded_weights import Array, Folded, Heads, Neurons, Reader, fold
from ablab.analysis.methods.unit_outputs import blocks, first_key, passes, transformer
from ablab.analysis.subject import DoesNotApplyError, Subject
from ablab.model.attention import Attention
from ablab.model.parts import DividingNorm
from ablab.model.transformer import Transformer

SIMPLIFICATIONS = {
    "positions": "keys and values have the mean positional embedding of all visible positions",
    "self_attention": "the position does not attend to itself",
    "attention_skip": "what neurons read of the position's own embedding is its mean over samples",
    "mlp_skip": "what reaches the logits without passing neurons is its mean over samples",
}


@dataclass(frozen=True)
class Scales:
    """What norms divide by.

    Attributes:
        attention: That before attention, (N, L).
        neurons: That before the MLP, (N,).
        logits: That before the logits, (N,).
    """

    attention: Array
    neurons: Array
    logits: Array


def observe(subject: Subject, tokens: NDArray[np.int64], at: int) -> tuple[Array, Scales]:
    """The logits (N, V) of a model of one block at a position, and the scales of its norms.

    Args:
        subject: The model.
        tokens: The input, (N, T).
        at: The position.
    """
    model = transformer(subject)
    (block,) = blocks(model)
    norms = {"ln_final.scale": model.norm}
    if block.has_attention:
        norms["blocks.0.ln1.scale"] = block.norm1
    if block.has_mlp:
        norms["blocks.0.ln2.scale"] = block.norm2
    read = [site for site, norm in norms.items() if isinstance(norm, DividingNorm)]
    found = {site: np.ones(tokens.shape) for site in norms}
    logits = np.empty((len(tokens), model.vocab_size))
    for rows, own in passes(subject, tokens, read):
        logits[rows] = own.logits[:, at].double().numpy()
        for site in read:
            found[site][rows] = own.sites[site][..., 0].double().numpy()
    ones = np.ones(tokens.shape)
    return logits, Scales(
        found.get("blocks.0.ln1.scale", ones)[:, : at + 1],
        found.get("blocks.0.ln2.scale", ones)[:, at],
        found["ln_final.scale"][:, at],
    )


class Rewritten:
    """A model of one block, written in effective matrices.

    Args:
        model: The model.
        at: The position whose logits are computed.

    Raises:
        DoesNotApplyError: The model has several blocks, or scores that are not products of queries
            and keys.
    """

    def __init__(self, model: Transformer, at: int) -> None:
        own = blocks(model)
        if len(own) != 1:
            raise DoesNotApplyError("the model has several blocks")
        self._at = at
        self._folded: Folded = fold(model, at + 1)
        self._heads: Heads | None = self._folded.heads[0]
        self._neurons: Neurons | None = self._folded.neurons[0]
        if self._heads is not None and not self._heads.bilinear:
            raise DoesNotApplyError("scores are not products of queries and keys")
        self._attention = own[0].attention if own[0].has_attention else None
        self._first_key = 0 if self._attention is None else first_key(self._attention, at)
        # A copy in float64, as an activation may have parameters.
        self._activation = deepcopy(own[0].mlp.activation).double() if own[0].has_mlp else None
        vocabulary, width = self._folded.embedding.shape
        self._first_position, self._constant = vocabulary, vocabulary + at + 1
        self._sources = np.concatenate(
            [self._folded.embedding, self._folded.positions, np.zeros((1, width))]
        )

    def logits(
        self,
        tokens: NDArray[np.int64],
        scales: Scales,
        weights: Array,
        without: Collection[str] = (),
    ) -> Array:
        """The logits at the position, (N, V).

        Args:
            tokens: The input, (N, T); positions after the one in question do not matter.
            scales: What norms divide by.
            weights: The weights of samples, for means over them.
            without: Names of ``SIMPLIFICATIONS``.
        """
        tokens = tokens[:, : self._at + 1]
        own = self._sources[tokens[:, -1]] + self._sources[self._first_position + self._at]
        added = self._head_outputs(tokens, scales, without)
        logits = self._folded.logits
        past = own + added if added is not None else own  # past the MLP, (N, D)
        hidden: Array | float = 0.0
        if self._neurons is not None:
            read = past
            if "attention_skip" in without:
                direct = (weights / scales.neurons) @ own  # the mean of what neurons read
                read = np.outer(scales.neurons, direct) + (past - own)
            written = self._neuron_outputs(read, scales) @ (self._neurons.write @ logits.weight)
            hidden = written / scales.logits[:, None]
            past = past + self._neurons.constant
        past = past @ logits.weight / scales.logits[:, None]
        if "mlp_skip" in without:
            past = np.broadcast_to(weights @ past, past.shape)
        found: Array = past + hidden + logits.constant
        return found

    def _neuron_outputs(self, stream: Array, scales: Scales) -> Array:
        """The outputs of neurons, (N, M), from the residual stream, (N, D)."""
        neurons = self._neurons
        assert neurons is not None, "there is an MLP"
        assert self._activation is not None, "there is an MLP"

        def read(reader: Reader) -> Array:
            found: Array = stream / scales.neurons[:, None] @ reader.weight + reader.constant
            return found

        with torch.no_grad():
            active: Tensor = self._activation(torch.from_numpy(read(neurons.read)))
        found: Array = active.numpy()
        return found if neurons.gated is None else found * read(neurons.gated)

    def _head_outputs(
        self, tokens: NDArray[np.int64], scales: Scales, without: Collection[str]
    ) -> Array | None:
        """The sum of what the heads add to the residual stream, (N, D); None without heads."""
        heads, attention = self._heads, self._attention
        if heads is None or attention is None:
            return None
        scores = self._scores(heads, tokens, scales, without)
        pattern = _weights(attention, scores, "self_attention" in without)  # (N, H, L)
        found = np.broadcast_to(heads.constant, (len(tokens), len(heads.constant))).copy()
        for head in range(len(heads.output)):
            values = self._projected(heads.value, head)  # (S, K)
            if "positions" in without:
                values = self._with_mean_position(values)
            weights = pattern[:, head] / scales.attention  # (N, L)
            entries = weights @ values[self._first_position : self._constant]
            entries += pattern[:, head].sum(-1, keepdims=True) * values[self._constant]
            for place in range(tokens.shape[1]):
                entries += weights[:, place, None] * values[tokens[:, place]]
            found += entries @ heads.output[head]
        return found

    def _scores(
        self, heads: Heads, tokens: NDArray[np.int64], scales: Scales, without: Collection[str]
    ) -> Array:
        """Products of the position's query and keys, (N, H, L)."""
        samples = np.arange(len(tokens))[:, None]
        scores = []
        for head in range(len(heads.output)):
            full = self._projected(heads.query, head) @ self._projected(heads.key, head).T  # (S, S)
            if "positions" in without:
                full = self._with_mean_position(full.T).T
            rows = full[tokens[:, -1]] + full[self._first_position + self._at]
            rows = rows / scales.attention[:, -1:] + full[self._constant]  # (N, S)
            own = rows[samples, tokens] + rows[:, self._first_position : self._constant]
            scores.append(own / scales.attention + rows[:, self._constant :])
        return np.stack(scores, axis=1)

    def _projected(self, reader: Reader, head: int) -> Array:
        """Queries, keys or values of a head for each source, (S, K)."""
        found: Array = self._sources @ reader.weight[head]
        found[self._constant] = reader.constant[head]
        return found

    def _with_mean_position(self, rows: Array) -> Array:
        """Rows for each source, (S, …), in which positions have the mean of those that are seen."""
        found = rows.copy()
        seen = self._first_position + self._first_key
        found[self._first_position : self._constant] = rows[seen : self._constant].mean(0)
        return found


def _weights(attention: Attention, scores: Array, hides_itself: bool) -> Array:
    """Attention weights of the last position, (N, H, L), from products of queries and keys."""
    length = scores.shape[-1]
    places = torch.arange(length, dtype=torch.float64)
    hidden = (places < first_key(attention, length - 1))[None]
    if hides_itself and not hidden[0, :-1].all():  # another key is visible
        hidden[0, -1] = True
    with torch.no_grad():
        raw = attention.logit_bias(torch.from_numpy(scores)[:, :, None])  # (N, H, 1, L)
        added = attention.position.score_bias(places[-1:], places)
        if added is not None:
            raw = raw + attention.temperature.divide_bias(added.double())
        mask = hidden if bool(hidden.any()) else None
        pattern = attention.activation.weights(attention.activation.scores(raw, mask), mask)
    found: Array = pattern[:, :, 0].numpy()
    return found
