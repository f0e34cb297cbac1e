"""A user's measure as an analysis: a number of each model at each kept step, from one pass.

Axes: B samples, T positions, V vocabulary.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ablab.analysis.analysis import Analysis, ReturnedError, analysis
from ablab.analysis.finding import Finding
from ablab.analysis.scalars import NAME_LETTERS, as_number, described, is_name
from ablab.analysis.subject import Subject
from ablab.config import Config
from ablab.config.own_parts import check_arguments, part_error
from ablab.tasks.config import Direction, Limits

VALUE = "value"
_LINES = (
    "@measure(sites=['blocks.*.mlp_out'])",
    "def my_measure(seen):",
    "    return seen.activations['blocks.0.mlp_out'].norm(dim=-1).mean()",
)


@dataclass(frozen=True)
class Seen:
    """What a measure sees of one model at one step: a pass over the task's probe.

    Attributes:
        step: The step; None for a model that is not a stored run's.
        tokens: The input, (B, T).
        targets: The token predicted at each input position, (B, T); -100 where none is predicted.
        logits: (B, T, V).
        activations: The tensors at the sites that the measure reads, by name.
        weights: The share of the task's samples that each sample stands for, (B,). They sum to 1.
        subject: The subject, for measures that need more than one pass.
    """

    step: int | None
    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    logits: Float[Tensor, "B T V"]
    activations: Mapping[str, Tensor]
    weights: Float[Tensor, " B"]
    subject: Subject


Measure = Callable[[Seen], Any]


def measure(
    function: Any = None,
    /,
    *,
    sites: str | Sequence[str] = (),
    limits: Limits | None = None,
    direction: Direction | None = None,
) -> Callable[[Measure], Analysis]:
    """A decorator that makes an analysis of a function of :class:`Seen`.

    The function returns a number (or a tensor or an array with one element), or several by name.
    Its question is the first line of its docstring.

    Args:
        function: Nothing: the decorator needs its parentheses.
        sites: The sites that it reads: a name or a pattern, or several.
        limits: The least and the greatest value, None where there is no end; intervals stay within.
        direction: Which values are better; None if neither.

    Raises:
        InputError: It has no parentheses, or the function cannot be called with what is seen.
        ValueError: The range or the direction is invalid, or the range ends before it begins.
    """
    if function is not None:
        named = getattr(function, "__name__", repr(function))
        raise part_error("measure", named, "has a decorator without ()", *_LINES)
    read = [sites] if isinstance(sites, str) else list(sites)

    def decorate(function: Measure) -> Analysis:
        name = function.__name__
        check_arguments(function, ["seen"], name, "measure", *_LINES)

        @functools.wraps(function)
        def examine(subject: Subject, settings: Config) -> Finding:
            return Finding(_numbers(function(_see(subject, read)), name))

        return analysis(
            name,
            question=(inspect.getdoc(function) or name).splitlines()[0],
            inputs=["model", "task"],
            cost="one pass over the probe",
            limits={} if limits is None else {"*": limits},
            directions={} if direction is None else {"*": direction},
        )(examine)

    return decorate


def _see(subject: Subject, sites: Sequence[str]) -> Seen:
    probe = subject.probe
    tokens = torch.from_numpy(probe.tokens)
    found = subject.forward(tokens, read=sites)
    return Seen(
        subject.step, tokens, torch.from_numpy(probe.targets), found.logits, found.sites,
        torch.from_numpy(probe.weights).to(found.logits), subject,
    )  # fmt: skip


def _numbers(found: Any, name: str) -> dict[str, float]:
    """What a measure returned, as numbers by name.

    Raises:
        ReturnedError: It is something else, or a name is not one that measures can contain.
    """
    numbers = {}
    for given, value in (found if isinstance(found, Mapping) else {VALUE: found}).items():
        key = str(given) if isinstance(given, Integral) else given  # such as the number of a head
        if not is_name(key):
            what = f"names a number {key!r}; expected {NAME_LETTERS}"
            raise ReturnedError("measure", name, what, *_LINES)
        number = as_number(value)
        if number is None:
            what = f"returns {described(value)}; expected a number, or numbers by name"
            raise ReturnedError("measure", name, what, *_LINES)
        numbers[key] = number
    return numbers
