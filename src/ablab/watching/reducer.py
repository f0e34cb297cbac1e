"""The interface of a reducer: one decorated function. Axes: N rows, B, P, V."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ablab.config.own_parts import check_arguments, part_error
from ablab.train.stored_programs import are_shipped
from ablab.watching.names import FAMILIES, MODEL, REDUCERS

Given = Literal["rows", "tensor", "matrices", "answers", "update", "gradients"]


@dataclass(frozen=True)
class Place:
    """The tensor of which a statistic is computed.

    Attributes:
        family: The family.
        name: The site, the parameter, SLOT/PARAMETER, or ``model`` for all parameters together.
        shape: The tensor's shape; for a site, without the batch axis.
        is_distribution: Whether each row of the last axis is non-negative and sums to one.
        has_zeros: Whether exact zeros have other causes than rounding.
    """

    family: str
    name: str
    shape: tuple[int, ...]
    is_distribution: bool = False
    has_zeros: bool = True

    @property
    def is_vector(self) -> bool:
        """Whether it is a parameter with one axis or none, and so a single row."""
        return self.family in ("param", "grad", "optimizer") and len(self.shape) < 2


@dataclass(frozen=True)
class Rows:
    """The results of one pass over the rows (the last axis) of several tensors; each (…,).

    Attributes:
        mean_norm: The mean of the rows' Euclidean norms.
        max_norm: The largest of these norms.
        min_norm: The smallest of these norms.
        rms: The root mean square of all entries.
        mean: The mean of all entries.
        std: Their standard deviation, with n in the denominator.
        largest: The largest absolute value.
        zeros: The fraction of exact zeros.
    """

    mean_norm: Tensor
    max_norm: Tensor
    min_norm: Tensor
    rms: Tensor
    mean: Tensor
    std: Tensor
    largest: Tensor
    zeros: Tensor

    def over(self, factors: Tensor) -> "Rows":
        """The results for the tensors divided by ``factors``, which are positive."""
        numbers = {name: value for name, value in vars(self).items() if name != "zeros"}
        return replace(self, **{name: value / factors for name, value in numbers.items()})


@dataclass(frozen=True)
class Products:
    """Sums over the entries of each parameter, for reducers that use two steps.

    Each is (R, parameters + 1); the last column is the sum over all parameters.

    Attributes:
        before: Σ θ² before the update.
        change: Σ Δθ² of the update.
        own: Σ g² of the gradient.
        previous: Σ g² of the previous step's gradient.
        dot: The dot product of both gradients.
        samples: The number of samples in a batch (B).
    """

    before: Tensor
    change: Tensor
    own: Tensor
    previous: Tensor
    dot: Tensor
    samples: int


@dataclass(frozen=True)
class Reducer:
    """A registered reducer.

    Attributes:
        name: Its name, or its import path.
        function: The function that computes it.
        given: The argument of the function; see :func:`reducer`.
        families: The families to which it applies.
        applies: Whether it applies to a place.
        is_mean: Whether it is a mean over the samples of a batch, so that the values of parts of a
            batch may be averaged.
        direction: Which values are better; None if it has no direction.
        limits: The least and the greatest value, None where there is no end; None if not declared.
    """

    name: str
    function: Callable[..., Any]
    given: Given
    families: tuple[str, ...]
    applies: Callable[[Place], bool]
    is_mean: bool = False
    direction: Literal["higher", "lower"] | None = None
    limits: tuple[float | None, float | None] | None = None

    @property
    def is_shipped(self) -> bool:
        """Whether it is ablab's own, and not a user's function."""
        return are_shipped(self.function)

    def of_numbers(self, numbers: Rows | Products) -> Tensor:
        """The statistic of :class:`Rows` or :class:`Products`.

        A user's function receives them in single precision, however they were computed.
        """
        if not self.is_shipped:
            single: dict[str, Any] = {
                name: value.to(torch.float32)
                for name, value in vars(numbers).items()
                if isinstance(value, Tensor)
            }
            numbers = replace(numbers, **single)
        found: Tensor = self.function(numbers)
        return found

    def fits(self, place: Place) -> bool:
        """Whether the reducer has a column for a place."""
        return place.family in self.families and self.applies(place)


def _anywhere(place: Place) -> bool:
    return place.name != MODEL


def reducer(
    name: str,
    given: Given = "tensor",
    families: tuple[str, ...] = tuple(FAMILIES),
    applies: Callable[[Place], bool] = _anywhere,
    is_mean: bool = False,
    direction: Literal["higher", "lower"] | None = None,
    limits: tuple[float | None, float | None] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that registers a function as a reducer.

    With ``given="tensor"``, the function receives the tensor of one run: that of a site, with the
    batch axis first, or that of a parameter. It returns a scalar tensor. It runs under
    ``torch.vmap``, so it must not branch on values.

    Args:
        name: The reducer's name, which is also the name of its file. A user's own reducer is named
            by its import path instead.
        given: What the function receives. ``tensor``: one tensor. ``matrices``: several at once,
            (…, rows, columns), where the rows of a site are its samples and positions. ``rows``:
            the results of one shared pass over all tensors, :class:`Rows`. ``answers``: the logits
            at predicted positions, (B, P, V), and the targets, (B, P); at the family
            ``activation_grad``, the gradients of the logits. ``update`` or ``gradients``:
            :class:`Products` of two steps.
        families: The families to which it applies.
        applies: Whether it applies to a place; if not, there is no column.
        is_mean: Whether it is a mean over the samples of a batch. Then the batch need not be in
            memory at once.
        direction: Which values are better, for measures such as ``best``; None if neither.
        limits: The least and the greatest value, such as ``(0.0, None)``; intervals stay within.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        made = Reducer(name, function, given, families, applies, is_mean, direction, limits)
        function.reducer = made  # type: ignore[attr-defined]
        if REDUCERS.ships(function):
            REDUCERS.register(name)(made)
        return function

    return decorate


def find_reducer(name: str) -> Reducer:
    """A shipped reducer by name, or a user's own by import path.

    A user's function need not be decorated; then it applies to every tensor.

    Raises:
        InputError: There is none, or a user's function has other arguments, or gives something
            other than a tensor with one number.
    """
    found = REDUCERS.find(name)
    if isinstance(found, Reducer):
        return found
    made = getattr(found, "reducer", None)
    if not isinstance(made, Reducer):
        made = Reducer(name, found, "tensor", tuple(FAMILIES), _anywhere)
    given = ["logits", "targets"] if made.given == "answers" else ["x"]
    check_arguments(made.function, given, name, _KEY, *_LINES)
    if made.given == "tensor":
        _try(made.function, name)
    return replace(made, name=name)


_KEY = "watch.statistics"
_LINES = ("def my_statistic(x):  # the tensor of one run", "    return x.abs().mean()")


def _try(function: Callable[..., Any], name: str) -> None:
    """Tries a user's function on a tensor; that it raises there says nothing of other tensors."""
    try:
        found = function(torch.ones(2, 3, 4))
    except (Exception, SystemExit):
        return
    if not isinstance(found, Tensor) or found.ndim:
        given = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else f"{found!r}"
        what = f"gives {given} for a tensor (2, 3, 4); expected a tensor with one number"
        raise part_error(_KEY, name, what, *_LINES)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, or NaN where the denominator is zero."""
    return torch.where(denominator != 0, numerator / denominator, torch.nan)
