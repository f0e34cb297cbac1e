"""Modules whose samples see each other, or do not, for tests."""

import torch
from torch import nn
from torch.nn import functional as F


class Plain(nn.Module):
    """The mean of the embeddings read so far."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.embedding(tokens)
        places = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
        x = x.cumsum(1) / places[:, None]
        return self.out(self.changed(self.hidden(x).tanh()))

    def changed(self, x):
        return x


class CentredInTraining(Plain):
    """Subtracts the mean over the batch, in training mode only."""

    def changed(self, x):
        return x - x.mean(0, keepdim=True) if self.training else x


class CentredInEvaluation(Plain):
    """Subtracts the mean over the batch, in evaluation mode only."""

    def changed(self, x):
        return x if self.training else x - x.mean(0, keepdim=True)


class ScaledBySize(Plain):
    """Divides by the number of samples."""

    def changed(self, x):
        return x / x.shape[0]


class OwnDropout(Plain):
    """Dropout that torch draws."""

    def changed(self, x):
        return F.dropout(x, 0.2, self.training)


class OwnDropoutCentred(Plain):
    """Dropout that torch draws, and the mean over the batch in training mode."""

    def changed(self, x):
        x = F.dropout(x, 0.2, self.training)
        return x - x.mean(0, keepdim=True) if self.training else x


class Dropout(Plain):
    """Dropout with masks by seed and step."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__(vocab_size, width)
        self.dropout = nn.Dropout(0.2)

    def changed(self, x):
        return self.dropout(x)


class LeadsAndFollows(Plain):
    """Adds what the last pass has left behind."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__(vocab_size, width)
        self.last = 0.0

    def changed(self, x):
        x = x + self.last
        self.last = x.detach().mean()
        return x


class SinglePrecision(Plain):
    """Runs in single precision only."""

    def changed(self, x):
        return x + torch.zeros(x.shape[-1]).addmv(torch.zeros(8, 8, dtype=x.dtype).float(), x[0, 0])


class OwnBatchNorm(Plain):
    """torch's BatchNorm over samples and positions."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__(vocab_size, width)
        self.norm = nn.BatchNorm1d(width)

    def changed(self, x):
        return self.norm(x.mT).mT


class InPlaceCache(Plain):
    """Mixes in what the last batch has left in a cache, which is written in place."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 8) -> None:
        super().__init__(vocab_size, width)
        self.cache = torch.zeros(input_length, width)

    def changed(self, x):
        x = x + self.cache.to(x.dtype)
        self.cache[:] = x.detach().mean(0)
        return x


class Recurrent(Plain):
    """An LSTM."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__(vocab_size, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def changed(self, x):
        return self.lstm(x)[0]


class ZeroOutput(CentredInTraining):
    """Its output layer starts at zero, so that no other parameter has a gradient at first."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__(vocab_size, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


class OtherwiseAlone(Plain):
    """Does something else with a batch of one sample, as in generation."""

    def changed(self, x):
        return x if x.shape[0] > 1 else x / 2
