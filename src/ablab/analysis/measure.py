"""A user's measure as an analysis: a number of each model at each kept step, from one pass.

Axes: B samples, T positions, V vocabulary.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ablab.analysis.analysis import Analysis, analysis
from ablab.analysis.finding import Finding
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
    sites: Sequence[str] = (),
    limits: Limits | None = None,
    direction: Direction | None = None,
) -> Callable[[Measure], Analysis]:
    """A decorator that makes an analysis of a function of :class:`Seen`.

    The function returns a number (or a tensor with one), or several by name. Its question is the
    first line of its docstring.

    Args:
        function: Nothing: the decorator needs its parentheses.
        sites: Names or patterns of the sites that it reads.
        limits: The least and the greatest value, None where there is no end; intervals stay within.
        direction: Which values are better; None if neither.

    Raises:
        InputError: It has no parentheses.
    """
    if function is not None:
        raise part_error("measure", function.__name__, "has a decorator without ()", *_LINES)

    def decorate(function: Measure) -> Analysis:
        name = function.__name__
        check_arguments(function, ["seen"], name, "measure", *_LINES)

        @functools.wraps(function)
        def examine(subject: Subject, settings: Config) -> Finding:
            return Finding(_numbers(function(_see(subject, sites)), name))

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
        InputError: It is something else.
    """
    numbers = {}
    for key, value in (found if isinstance(found, Mapping) else {VALUE: found}).items():
        if not isinstance(value, int | float | np.number | Tensor | np.ndarray) or (
            isinstance(value, Tensor | np.ndarray) and value.ndim
        ):
            shape = getattr(value, "shape", None)
            given = type(value).__name__ if shape is None else f"an array of shape {tuple(shape)}"
            what = f"returns {given}; expected a number, or numbers by name"
            raise part_error("measure", name, what, *_LINES)
        numbers[str(key)] = float(value)
    return numbers
