"""Addition of two numbers, digit by digit, as in the digit-addition logbook."""

import re

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ablab.tasks.addition_config import AdditionConfig
from ablab.tasks.base import Batch, Task
from ablab.tasks.random import Stream, integers, wide_integers
from ablab.tasks.split import distinct

_EVALUATION_SEED = 0


class Addition(Task):
    """Two numbers of ``n_digits`` digits in; one digit of their sum, or all of them, out.

    Tokens are the digits 0 … base - 1, then ``+`` (base) and ``=`` (base + 1). Operands are uniform
    over all numbers of at most ``n_digits`` digits, or over 0 … ``max_value``, written in ``base``.
    With ``target: all`` the model reads the answer too (teacher forcing) and predicts each of its
    digits from those before.

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

    Operands up to 1,000, written in base 16:

    >>> task = Addition(AdditionConfig(max_value=1000, base=16, target="all"))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0]), task.text(batch.targets[0, 0])
    ('2c1+111=03d', '03d2')
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
        problems = self._problems(seed, Stream.BATCH, first_step, steps, batch_size)
        if self.config.held_out:
            problems = self.config.split.on_side(problems, seed, first_step, held_out=False)
        return self._batch(problems)

    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` held-out problems, all different.

        Which problems are held out is a function of the two operands alone (a keyed hash), whatever
        the seed and step; a + b and b + a are two problems. With ``held_out: 0`` they come from a
        stream of their own, and among few problems some are met in training.
        """
        if not self.config.held_out:
            problems = self._problems(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, samples)
            return self._batch(problems[0])
        problems = self._problems(_EVALUATION_SEED, Stream.EVALUATION, 0, 1, samples * 4)
        problems = self.config.split.on_side(problems, _EVALUATION_SEED, 0, held_out=True)
        return self._batch(distinct(problems[0], samples))

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
        predictions that are no digit. What the model thinks possible, and not only what it thinks
        likeliest, is the mean predicted probability of the naive digit sum, of that plus one, and
        of anything else: ``probability/digit_d/naive``, ``…/naive_plus_1``, ``…/other``; of the
        first two the larger one, which is about a half where it cannot tell whether there is a
        carry and 1 where it can, is ``…/larger_of_two``. ``accuracy`` is the mean over digits,
        ``sequence_accuracy`` the share of samples with every digit right.
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
            possible = self._possible(logits[:, place], self._naive(tokens, digit))
            for name, probability in possible.items():
                result[f"probability/digit_{digit}/{name}"] = probability.mean()
        return result

    def _possible(
        self, logits: Float[Tensor, "B V"], naive: Int[Tensor, " B"]
    ) -> dict[str, Float[Tensor, " B"]]:
        """The predicted probability of the digit sum without a carry, with one, and of the rest."""
        probabilities = logits.float().softmax(-1)
        numbers = torch.arange(logits.shape[-1], device=logits.device)
        with_carry = torch.remainder(naive + 1, self.config.base)
        # A product with a mask and no gather, which compiled methods would be slow at.
        none, one = (
            torch.where(numbers == digit[:, None], probabilities, 0.0).sum(-1)
            for digit in (naive, with_carry)
        )
        return {
            "naive": none,
            "naive_plus_1": one,
            "other": 1 - none - one,
            "larger_of_two": torch.maximum(none, one),
        }

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as a person writes them."""
        return "".join(self._symbols[token] for token in tokens)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """What :meth:`text` wrote, as tokens; short operands before ``=`` get leading zeros.

        Raises:
            ValueError: There is no such symbol, or an operand is too long.
        """
        for symbol in text:
            if symbol not in self._symbols:
                last = self._symbols[self.config.base - 1]
                raise ValueError(f"there is no symbol {symbol!r}; symbols are 0 to {last}, + and =")
        whole = re.fullmatch(r"([^+=]+)\+([^+=]+)=(.*)", text)
        if whole:
            first, second, rest = whole.groups()
            text = f"{self._filled(first)}+{self._filled(second)}={rest}"
        return np.array([self._symbols.index(symbol) for symbol in text], dtype=np.int64)

    @property
    def _symbols(self) -> str:
        return "0123456789abcdefghijklmnopqrstuvwxyz"[: self.config.base] + "+="

    def _filled(self, operand: str) -> str:
        n = self.config.n_digits
        if len(operand) > n:
            raise ValueError(f"operands have {n} digits, and {operand!r} has {len(operand)}")
        least_first = self.config.order == "least_significant_first"
        return operand.ljust(n, "0") if least_first else operand.rjust(n, "0")

    def _problems(
        self, seed: int, stream: Stream, first: int, rows: int, samples: int
    ) -> NDArray[np.int64]:
        """Problems of shape (rows, samples, columns), columns as :class:`Split` has them."""
        columns, below = self.config.split.longest, self.config.split.below
        draw = integers if self.config.max_value is None else wide_integers
        drawn = draw(seed, stream, first, rows, samples * columns, below)
        return drawn.reshape(rows, samples, columns)

    def _batch(self, problems: NDArray[np.int64]) -> Batch:
        """Tokens and targets of problems, any leading axes."""
        n, base = self.config.n_digits, self.config.base
        # The operands' digits, least significant first.
        if self.config.max_value is None:
            operands = problems.reshape(*problems.shape[:-1], 2, n)
        else:
            operands = problems[..., None] // base ** np.arange(n) % base
        answer = np.empty((*problems.shape[:-1], n + 1), dtype=np.int64)
        carry = np.zeros(problems.shape[:-1], dtype=np.int64)
        for place in range(n):
            total = operands[..., 0, place] + operands[..., 1, place] + carry
            answer[..., place] = total % base
            carry = total // base
        answer[..., n] = carry
        step = 1 if self.config.order == "least_significant_first" else -1
        plus = np.full((*problems.shape[:-1], 1), base)
        question = [operands[..., 0, ::step], plus, operands[..., 1, ::step], plus + 1]
        targets = answer[..., list(self.config.digits)]
        if self.config.target == "all":
            question.append(targets[..., :-1])
        return Batch(np.concatenate(question, axis=-1), targets)

    def _naive(self, tokens: Int[Tensor, "B T"], digit: int) -> Int[Tensor, " B"]:
        """The sum of the operands' digits at a place, no carry; the leading digit's is zero."""
        n, base = self.config.n_digits, self.config.base
        if digit == n:
            return torch.zeros_like(tokens[:, 0])
        place = digit if self.config.order == "least_significant_first" else n - 1 - digit
        return torch.remainder(tokens[:, place] + tokens[:, n + 1 + place], base)
