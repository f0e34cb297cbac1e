"""Addition of two numbers, digit by digit, as in the digit-addition logbook."""

import re
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ablab.config import counted
from ablab.tasks.addition_config import MAX_CASCADE, AdditionConfig
from ablab.tasks.base import Batch, Table, Task
from ablab.tasks.factors import DOES_NOT_APPLY
from ablab.tasks.groups import CyclicGroup, NoCyclicGroupError, additive_group
from ablab.tasks.random import Stream, integers, wide_integers
from ablab.tasks.split import distinct

_EVALUATION_SEED = 0


class Addition(Task):
    """The input is two numbers of ``n_digits`` digits; the target is one or all digits of the sum.

    Tokens are the digits 0 … base - 1, then ``+`` (base) and ``=`` (base + 1). Operands are uniform
    over all numbers of at most ``n_digits`` digits, or over 0 … ``max_value``, written in ``base``.
    With ``target: all``, the input includes the answer (teacher forcing), and each digit is
    predicted from the previous ones.

    >>> task = Addition(AdditionConfig(n_digits=2, target="all"))
    >>> batch = task.draw(seed=0, first_step=1, steps=1, batch_size=1)
    >>> task.text(batch.tokens[0, 0])
    '79+26=10'
    >>> task.text(batch.targets[0, 0])
    '105'

    With ``target: last``, a single token after ``=`` is predicted:

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
        """The last position; with target ``all``, the position of ``=`` and all later ones."""
        return slice(self.config.input_length - len(self.config.digits), None)

    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches for ``steps`` steps; see :meth:`ablab.tasks.base.Task.draw`."""
        problems = self._problems(seed, Stream.BATCH, first_step, steps, batch_size)
        if self.config.held_out:
            problems = self.config.split.on_side(problems, seed, first_step, held_out=False)
        return self._batch(problems)

    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` distinct held-out problems.

        A keyed hash of the two operands decides whether a problem is held out, independent of seed
        and step; a + b and b + a are different problems. With ``held_out: 0``, problems come from a
        separate random stream, and if there are few problems, some also occur in training.
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
        """Loss and accuracy per digit, and comparisons with the naive digit sum.

        The naive digit sum is the sum of the digits of the two operands without a carry. For each
        predicted digit d, counted from the right, there are:

        - ``loss/digit_d``, the cross-entropy whatever ``train.loss`` is, and ``accuracy/digit_d``.
        - ``offset/digit_d/k``: the share of predictions that equal the naive digit sum plus k,
          modulo the base (k = 0 is the naive sum), and ``offset/digit_d/other``: the share of
          predictions that are not digits.
        - ``probability/digit_d/naive``, ``…/naive_plus_1`` and ``…/other``: the mean predicted
          probability of the naive digit sum, of the naive digit sum plus one, and of everything
          else. ``…/larger_of_two`` is the mean of the larger of the first two: about 0.5 if the
          model cannot tell whether there is a carry, and 1 if it can.

        ``accuracy`` is the mean over digits, ``sequence_accuracy`` the share of samples in which
        all digits are correct.
        """
        base = self.config.base
        predictions = logits.argmax(-1)  # (B, P)
        right = predictions == targets
        exact = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        losses = F.cross_entropy(exact.transpose(1, 2), targets, reduction="none")  # (B, P)
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

    def factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Whether there is a carry into a digit, and its cascade, by predicted position (B, P)."""
        names = self.config.factors
        if not names:
            return {}
        length, digits = self._cascades(batch.tokens), self.config.digits
        length = np.where(np.array(digits) > 0, length[:, list(digits)], DOES_NOT_APPLY)  # (B, P)
        found = {}
        for name in names:
            here = np.array([f"carry_into_{digit}" == name for digit in digits])
            found[name] = np.where(here, length > 0, DOES_NOT_APPLY).astype(np.int64)
        if "cascade" in names:
            found["cascade"] = np.minimum(length, MAX_CASCADE)
        return found

    @property
    def table_size(self) -> int:
        """All pairs of operands."""
        return self.config.split.size

    def table(self) -> Table:
        """All problems, ordered by the columns of :class:`ablab.tasks.split.Split`."""
        split = self.config.split
        rows = split.rows()
        return Table(self._batch(rows), ~split.is_held_out(rows) if split.share else None)

    @property
    def held_out_share(self) -> float:
        """The setting ``held_out``."""
        return self.config.held_out

    @property
    def strata(self) -> tuple[str, ...]:
        """Probes are stratified by the longest cascade."""
        return ("longest_cascade",)

    def probe_factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Digits, sums of digits, and carries, each (B,); digit 0 is the last one.

        - ``a_digit_D``, ``b_digit_D``: the digits of the operands.
        - ``naive_sum_D``: a_digit_D + b_digit_D, from 0 to 2 * base - 2. (The measures of this task
          compare with the naive digit sum modulo the base.)
        - ``carry_into_D``: whether there is a carry into digit D ≥ 1 of the answer: 0 or 1.
        - ``answer_digit_D``: the digits of the answer.
        - ``longest_cascade``: how many places the longest carry comes. A place with a digit sum of
          at least base is 1, and each following place with a sum of base - 1, which passes the
          carry on, adds 1; 0 if there is no carry.
        """
        n, base = self.config.n_digits, self.config.base
        digits, cascades = self._digits(batch.tokens), self._cascades(batch.tokens)
        sums = digits.sum(1)  # (B, n_digits)
        found = {f"a_digit_{d}": digits[:, 0, d] for d in range(n)}
        found |= {f"b_digit_{d}": digits[:, 1, d] for d in range(n)}
        found |= {f"naive_sum_{d}": sums[:, d] for d in range(n)}
        carries = (cascades > 0).astype(np.int64)
        found |= {f"carry_into_{d}": carries[:, d] for d in range(1, n + 1)}
        found |= {f"answer_digit_{d}": (sums[:, d] + carries[:, d]) % base for d in range(n)}
        return found | {f"answer_digit_{n}": carries[:, n], "longest_cascade": cascades.max(-1)}

    def similar(self, batch: Batch, factor: str, seed: int) -> Batch:
        """One digit of an operand is another: the digit that the factor names, or any."""
        n, base = self.config.n_digits, self.config.base
        columns = [f"{operand}_digit_{d}" for operand in "ab" for d in range(n)]
        changed = np.array([columns.index(factor)] if factor in columns else range(2 * n))
        place = np.repeat(changed, base)  # (K,)
        digits = self._digits(batch.tokens).reshape(-1, 1, 2 * n).repeat(len(place), axis=1)
        digits[:, np.arange(len(place)), place] = np.tile(np.arange(base), len(changed))
        if self.config.max_value is None:
            return self._batch(digits)
        numbers = digits.reshape(*digits.shape[:2], 2, n) @ base ** np.arange(n)
        given = self._digits(batch.tokens) @ base ** np.arange(n)
        allowed = (numbers <= self.config.max_value).all(-1, keepdims=True)
        return self._batch(np.where(allowed, numbers, given[:, None]))

    def cyclic_groups(self) -> dict[str, CyclicGroup]:
        """For each predicted digit D, ``digit_D``: the digits are added modulo the base.

        The carry into a digit is added to the sum of the operands' digits. The leading digit is
        only a carry, and has no group.

        Raises:
            NoCyclicGroupError: Only the leading digit is predicted.
        """
        n, found = self.config.n_digits, {}
        for digit, answer in zip(self.config.digits, self._answer_positions, strict=True):
            if digit < n:
                place = digit if self._least_first else n - 1 - digit
                group = additive_group(self.config.base, (place, n + 1 + place), (1, 1), answer)
                carry = f"carry_into_{digit}" if digit else None
                found[f"digit_{digit}"] = replace(group, carry=carry)
        if not found:
            raise NoCyclicGroupError("the leading digit of a sum is the carry, not a sum of digits")
        return found

    @property
    def _answer_positions(self) -> range:
        """The input positions at which the digits of the answer are predicted."""
        return range(self.config.input_length)[self.predicted]

    def _digits(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The digits of both operands, counted from the right, (B, 2, n_digits)."""
        n = self.config.n_digits
        operands = np.stack([tokens[:, :n], tokens[:, n + 1 : 2 * n + 1]], axis=1)
        return operands if self._least_first else operands[..., ::-1]

    def _cascades(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many places the carry into each digit of the answer has come, (B, n_digits + 1).

        Digits are counted from the right; 0 where there is no carry.
        """
        n, base = self.config.n_digits, self.config.base
        sums = self._digits(tokens).sum(1)
        length = np.zeros((len(tokens), n + 1), dtype=np.int64)
        for place in range(n):
            passed_on = np.where(length[:, place] > 0, length[:, place] + 1, 0)
            passes = sums[:, place] == base - 1
            length[:, place + 1] = np.where(passes, passed_on, sums[:, place] >= base)
        return length

    def _possible(
        self, logits: Float[Tensor, "B V"], naive: Int[Tensor, " B"]
    ) -> dict[str, Float[Tensor, " B"]]:
        """The predicted probability of the digit sum without a carry, with one, and the rest."""
        probabilities = logits.float().softmax(-1)
        numbers = torch.arange(logits.shape[-1], device=logits.device)
        with_carry = torch.remainder(naive + 1, self.config.base)
        # Multiply with a mask; a gather would be slow in compiled methods.
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
        """Tokens as readable text."""
        return "".join(self._symbols[token] for token in tokens)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts the output of :meth:`text` back to tokens; pads short operands with zeros.

        Raises:
            ValueError: There is no such symbol, or an operand is too long.
        """
        for symbol in text:
            if symbol not in self._symbols:
                last = self._symbols[self.config.base - 1]
                raise ValueError(f"no symbol {symbol!r}; symbols are 0 to {last}, + and =")
        match = re.fullmatch(r"([^+=]+)\+([^+=]+)=(.*)", text)
        if match:
            first, second, rest = match.groups()
            text = f"{self._filled(first)}+{self._filled(second)}={rest}"
        return np.array([self._symbols.index(symbol) for symbol in text], dtype=np.int64)

    @property
    def _symbols(self) -> str:
        return "0123456789abcdefghijklmnopqrstuvwxyz"[: self.config.base] + "+="

    @property
    def _least_first(self) -> bool:
        return self.config.order == "least_significant_first"

    def _filled(self, operand: str) -> str:
        n = self.config.n_digits
        if len(operand) > n:
            raise ValueError(
                f"operands have {counted(n, 'digit')}, but {operand!r} has {len(operand)}"
            )
        return operand.ljust(n, "0") if self._least_first else operand.rjust(n, "0")

    def _problems(
        self, seed: int, stream: Stream, first: int, rows: int, samples: int
    ) -> NDArray[np.int64]:
        """Problems of shape (rows, samples, columns), with the columns of :class:`Split`."""
        columns, below = self.config.split.longest, self.config.split.below
        draw = integers if self.config.max_value is None else wide_integers
        drawn = draw(seed, stream, first, rows, samples * columns, below)
        return drawn.reshape(rows, samples, columns)

    def _batch(self, problems: NDArray[np.int64]) -> Batch:
        """Tokens and targets of problems, with any leading axes."""
        n, base = self.config.n_digits, self.config.base
        # Digits of the operands, least significant first.
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
        step = 1 if self._least_first else -1
        plus = np.full((*problems.shape[:-1], 1), base)
        question = [operands[..., 0, ::step], plus, operands[..., 1, ::step], plus + 1]
        targets = answer[..., list(self.config.digits)]
        if self.config.target == "all":
            question.append(targets[..., :-1])
        return Batch(np.concatenate(question, axis=-1), targets)

    def _naive(self, tokens: Int[Tensor, "B T"], digit: int) -> Int[Tensor, " B"]:
        """The sum of the operands' digits at a place, without carry; zero for the leading digit."""
        n, base = self.config.n_digits, self.config.base
        if digit == n:
            return torch.zeros_like(tokens[:, 0])
        place = digit if self._least_first else n - 1 - digit
        return torch.remainder(tokens[:, place] + tokens[:, n + 1 + place], base)
