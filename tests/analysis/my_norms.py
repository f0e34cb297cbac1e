"""A norm of a user's own, for tests."""

import math

import torch
from torch import nn

from ablab.model.norms.rms import RMSNorm


class LearnedEpsilon(RMSNorm):
    """An RMSNorm whose scale has a parameter: ε is learned, and begins at 1e-5."""

    ablab_divides = True

    def __init__(self, width, bias):
        super().__init__(width, bias)
        self.log_epsilon = nn.Parameter(torch.tensor([math.log(1e-5)]))

    def forward(self, x):
        return self.divide(x, self.scale(x))

    def scale(self, x):
        return (x.square().mean(-1, keepdim=True) + self.log_epsilon.exp()).sqrt()
