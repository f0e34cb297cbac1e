"""Attention weights of a transformer's heads. Axes: N, T queries, S keys; H all heads, by block."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ablab.analysis.methods.samples import Samples
from ablab.analysis.subject import Subject
from ablab.model.transformer import Transformer
from ablab.tasks.config import IGNORED

ENTRIES = 2**23  # of all weights


@dataclass(frozen=True)
class AttentionWeights:
    """The weights of all heads.

    Attributes:
        blocks: The block of each head, (H,).
        heads: The number of each head in its block, (H,).
        weights: The weights of ``attn.pattern``, (N, H, T, S).
        visible: Which keys each query sees, (H, T, S).
    """

    blocks: tuple[int, ...]
    heads: tuple[int, ...]
    weights: NDArray[np.float64]
    visible: NDArray[np.bool_]

    def shares(self) -> NDArray[np.float64]:
        """The sizes of weights as shares of their sum over keys, (N, H, T, S).

        They are 0 where all are 0, and NaN where one is not finite.

        With softmax they are the weights. Other activations have rows that do not sum to one, and
        weights that can be negative.
        """
        sizes = np.abs(self.weights)
        sums = sizes.sum(-1, keepdims=True)
        sums = np.where(np.isinf(sums), np.nan, sums)
        found: NDArray[np.float64] = np.divide(
            sizes, sums, out=np.zeros_like(sizes), where=sums != 0
        )
        return found


def heads_of(model: Transformer) -> list[tuple[int, int, int | None]]:
    """The block and the number of each head, and the number of keys that it sees, if limited."""
    return [
        (number, head, own.attention.window)
        for number in range(len(model.blocks))
        if (own := model.config.block(number)).attention is not None
        for head in range(own.n_heads)
    ]


def attention_weights(
    subject: Subject, model: Transformer, tokens: NDArray[np.int64]
) -> AttentionWeights:
    """The weights of all heads of a subject's model for tokens (N, T)."""
    heads = heads_of(model)
    sites = [f"blocks.{number}.attn.pattern" for number in dict.fromkeys(each[0] for each in heads)]
    read = subject.forward(torch.from_numpy(tokens), read=sites).sites
    weights = torch.cat([read[site] for site in sites], dim=1).double().numpy()
    distance = np.subtract.outer(np.arange(tokens.shape[1]), np.arange(tokens.shape[1]))
    visible = np.stack(
        [(distance >= 0) & (distance < (window or tokens.shape[1])) for _, _, window in heads]
    )
    blocks, numbers = tuple(each[0] for each in heads), tuple(each[1] for each in heads)
    return AttentionWeights(blocks, numbers, weights, visible)


def used_queries(samples: Samples) -> NDArray[np.bool_]:
    """The positions up to the last one with a target, of each sample, (N, T); not padding."""
    known = (samples.targets != IGNORED).numpy()
    last = samples.first + known.shape[1] - 1 - known[:, ::-1].argmax(-1)
    found: NDArray[np.bool_] = np.arange(samples.tokens.shape[1]) <= last[:, None]
    return found
