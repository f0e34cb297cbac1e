"""Parts of attention by import path, each with a bug of the attention-norms logbook."""

import torch
from torch import nn

from ablab.model.parts import Normalised, Pointwise


class NormWithoutAxis(nn.Module):
    """A Frobenius norm without its axis."""

    def __init__(self, width, bias):
        super().__init__()

    def forward(self, x):
        return x / torch.norm(x)


class MaskBeforeTanh(Normalised):
    """The mask before an activation that does not turn minus infinity into zero."""

    def weights(self, scores, hidden):
        return scores.tanh()


class MaskForgotten(Pointwise):
    """No mask at all."""

    def weights(self, scores, hidden):
        return scores

    def weigh(self, scores, length):
        return scores
