"""What a reducer is: one decorated function. Axes: N rows, B, P, V."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ablab.watching.names import FAMILIES, MODEL, REDUCERS

Given = Literal["rows", "tensor", "matrices", "answers", "update", "gradients"]


@dataclass(frozen=True)
class Place:
    """Where a statistic is taken.

    Attributes:
        family: Its family.
        name: The site, the parameter, SLOT/PARAMETER, or ``model`` for all parameters together.
        shape: The tensor's shape, of a site without the batch axis.
        is_distribution: Whether every row of the last axis sums to one, none below zero.
        has_zeros: Whether exact zeros come about by other means than rounding.
    """

    family: str
    name: str
    shape: tuple[int, ...]
    is_distribution: bool = False
    has_zeros: bool = True

    @property
    def is_vector(self) -> bool:
        """Whether it is a parameter of one axis, or none: a single row."""
        return self.family in ("param", "grad", "optimizer") and len(self.shape) < 2


@dataclass(frozen=True)
class Rows:
    """What one pass over a tensor leaves of its rows (its last axis); each (…,), tensors alike.

    Attributes:
        mean_norm: The mean of the rows' Euclidean norms.
        max_norm: The largest of them.
        min_norm: The smallest.
        rms: The root of the mean square of all entries.
        mean: Their mean.
        std: Their standard deviation, with n in the denominator.
        largest: The largest absolute value.
        zeros: The share of exact zeros.
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
        """The same of tensors that were divided by ``factors``, which are above zero."""
        numbers = {name: value for name, value in vars(self).items() if name != "zeros"}
        return replace(self, **{name: value / factors for name, value in numbers.items()})


@dataclass(frozen=True)
class Products:
    """Sums of squares and products over a parameter's entries, for reducers of two steps.

    Attributes:
        before: Of the parameters before the update, squared; ``change``: of the update, squared.
        change: See there.
        own: Of the gradient, squared.
        previous: Of the previous step's gradient, squared.
        dot: Of both gradients' product.
        samples: Samples of a batch (B).
    """

    before: Tensor
    change: Tensor
    own: Tensor
    previous: Tensor
    dot: Tensor
    samples: int


@dataclass(frozen=True)
class Reducer:
    """A reducer as it was registered.

    Attributes:
        name: Its name, or its import path.
        function: What computes it.
        given: What the function is given.
        families: The families that it is for.
        applies: Whether it says something of a place.
        is_mean: Whether it is the mean over a batch's samples, so that parts may be averaged.
    """

    name: str
    function: Callable[..., Any]
    given: Given
    families: tuple[str, ...]
    applies: Callable[[Place], bool]
    is_mean: bool = False

    def fits(self, place: Place) -> bool:
        """Whether it makes a column at a place."""
        return place.family in self.families and self.applies(place)


def _anywhere(place: Place) -> bool:
    return place.name != MODEL


def reducer(
    name: str,
    given: Given = "tensor",
    families: tuple[str, ...] = tuple(FAMILIES),
    applies: Callable[[Place], bool] = _anywhere,
    is_mean: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that makes a function known as a reducer.

    A function of a ``tensor`` is given that of one run: a site's with the batch axis first, or a
    parameter's. It returns a scalar tensor and runs under ``torch.vmap``, so it must not branch on
    values.

    Args:
        name: The reducer's name, which its file has too; a user's own goes by its import path.
        given: ``tensor``; ``matrices``, all of them at once, (…, rows, columns), with a site's
            batch and positions as rows; ``rows``, what one shared pass leaves of all tensors
            (:class:`Rows`); ``answers``, the
            logits (B, P, V) at predicted positions with targets (B, P); ``update`` or
            ``gradients``, :class:`Products` of two steps.
        families: The families that it is for.
        applies: Whether it says something of a place; where not, it makes no column.
        is_mean: Whether it is the mean over a batch's samples, which need not be held at once then.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        made = Reducer(name, function, given, families, applies, is_mean)
        function.reducer = made  # type: ignore[attr-defined]
        if REDUCERS.ships(function):
            REDUCERS.register(name)(made)
        return function

    return decorate


def find_reducer(name: str) -> Reducer:
    """A shipped reducer by its name, or a user's own by import path.

    A user's function need not be decorated: then it is one of any tensor.
    """
    found = REDUCERS.find(name)
    if isinstance(found, Reducer):
        return found
    made = getattr(found, "reducer", None)
    if isinstance(made, Reducer):
        return replace(made, name=name)
    return Reducer(name, found, "tensor", tuple(FAMILIES), _anywhere)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient; NaN where the denominator is zero."""
    return torch.where(denominator != 0, numerator / denominator, torch.nan)
