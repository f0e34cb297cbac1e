"""Addition of two numbers, digit by digit, as in the digit-addition logbook."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch, Task
from ablab.tasks.random import Stream, integers

_EVALUATION_SEED = 0


class Addition(Task):
    """Two numbers of ``n_digits`` digits in; one digit of their sum, or all of them, out.

    Tokens are the digits 0 … base - 1, then ``+`` (base) and ``=`` (base + 1). Operands are uniform
    over all numbers of at most ``n_digits`` digits. With ``target: all`` the model reads the answer
    too (teacher forcing) and predicts each of its digits from those before.

    >>> task = Addition(AdditionConfig(n_digits=2, target="all"))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0])
    '79+26=10'
    >>> task.text(batch.targets[0, 0])
    '105'

    The last digit alone is a single token after ``=``:

    >>> task = Addition(AdditionConfig(n_digits=2, target="last"))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('79+26=', '5')
    """

    Config = AdditionConfig

    def __init__(self, config: AdditionConfig) -> None:
        self.config: AdditionConfig = config

    @property
    def predicted(self) -> slice:
        """The last position, or with target ``all`` the position of ``=`` and all after it."""
        return slice(self.config.input_length - len(self.config.digits), None)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches of ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        return self._problems(seed, Stream.BATCH, first_step, steps, batch_size)

    def held_out(self, samples: int) -> Batch:
        """Problems from a stream of their own; among few problems, some are met in training."""
        batch = self._problems(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])

    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """Loss and accuracy of each digit, and how predictions differ from the naive digit sum.

        Names, for each predicted digit d counted from the right: ``loss/digit_d``,
        ``accuracy/digit_d``; and the share of predictions that equal the naive digit sum (the sum
        of the two operands' digits without a carry) plus k modulo the base, as
        ``offset/digit_d/k`` (k = 0 the naive sum itself), with ``offset/digit_d/other`` for
        predictions that are no digit. ``accuracy`` is the mean over digits, ``sequence_accuracy``
        the share of samples with every digit right.
        """
        base = self.config.base
        predictions = logits.argmax(-1)  # (B, P)
        right = predictions == targets
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # (B, P)
        result = {
            "accuracy": right.float().mean(),
            "sequence_accuracy": right.all(-1).float().mean(),
        }
        for place, digit in enumerate(self.config.digits):
            result[f"loss/digit_{digit}"] = losses[:, place].mean()
            result[f"accuracy/digit_{digit}"] = right[:, place].float().mean()
            predicted = predictions[:, place]
            is_digit = predicted < base
            offset = torch.remainder(predicted - self._naive(tokens, digit), base)
            for k in range(base):
                share = (is_digit & (offset == k)).float().mean()
                result[f"offset/digit_{digit}/{k}"] = share
            result[f"offset/digit_{digit}/other"] = (~is_digit).float().mean()
        return result

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as a person writes them."""
        symbols = "0123456789abcdefghijklmnopqrstuvwxyz"[: self.config.base] + "+="
        return "".join(symbols[token] for token in tokens)

    def _problems(self, seed: int, stream: Stream, first: int, rows: int, samples: int) -> Batch:
        n, base = self.config.n_digits, self.config.base
        # The operands' digits, least significant first.
        drawn = integers(seed, stream, first, rows, samples * 2 * n, base)
        operands = drawn.reshape(rows, samples, 2, n)
        answer = np.empty((rows, samples, n + 1), dtype=np.int64)
        carry = np.zeros((rows, samples), dtype=np.int64)
        for place in range(n):
            total = operands[:, :, 0, place] + operands[:, :, 1, place] + carry
            answer[:, :, place] = total % base
            carry = total // base
        answer[:, :, n] = carry
        step = 1 if self.config.order == "least_significant_first" else -1
        plus = np.full((rows, samples, 1), base)
        question = [operands[:, :, 0, ::step], plus, operands[:, :, 1, ::step], plus + 1]
        targets = answer[:, :, list(self.config.digits)]
        if self.config.target == "all":
            question.append(targets[:, :, :-1])
        return Batch(np.concatenate(question, axis=-1), targets)

    def _naive(self, tokens: Int[Tensor, "B T"], digit: int) -> Int[Tensor, " B"]:
        """The sum of the operands' digits at a place, no carry; the leading digit's is zero."""
        n, base = self.config.n_digits, self.config.base
        if digit == n:
            return torch.zeros_like(tokens[:, 0])
        place = digit if self.config.order == "least_significant_first" else n - 1 - digit
        return torch.remainder(tokens[:, place] + tokens[:, n + 1 + place], base)
