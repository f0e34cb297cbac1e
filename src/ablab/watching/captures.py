"""Captures: complete tensors, saved at some steps. Axes: R, B, P parameters."""

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from ablab.config import InputError, Problem, nearest
from ablab.model.base import Model
from ablab.model.interventions import watch
from ablab.model.site_names import plain_site
from ablab.train.advance import Advance
from ablab.train.loop import Observer
from ablab.train.optimizer import like_parameters
from ablab.train.parameter_layout import ParameterLayout
from ablab.train.stack import Stack
from ablab.watching.config import CaptureConfig
from ablab.watching.names import CAPTURED
from ablab.watching.sites import Site

SaveTensors = Callable[[str, int, dict[str, Tensor]], None]  # (run, step, tensors)


def every_tensor(
    sites: Mapping[str, Site], layout: ParameterLayout, optimizer_state: Sequence[str]
) -> list[str]:
    """The names of all tensors that can be captured, as FAMILY/NAME."""
    every = [f"activation/{site}" for site in sites]
    every += [f"param/{name}" for name in layout.names]
    return every + [f"optimizer/{slot}/{name}" for slot in optimizer_state for name in layout.names]


def capture_names(patterns: Sequence[str], every: Sequence[str]) -> list[str]:
    """The tensors that match any of the patterns; a bare site is an activation.

    Args:
        patterns: The patterns.
        every: The names of all tensors; see :func:`every_tensor`.
    """
    full = [_full(pattern) for pattern in patterns]
    return [name for name in every if any(fnmatchcase(name, each) for each in full)]


def check_capture_patterns(patterns: Sequence[str], every: Sequence[str]) -> None:
    """Checks that each pattern matches a tensor.

    Args:
        patterns: The patterns.
        every: The names of all tensors, of several architectures if they vary.

    Raises:
        InputError: A pattern matches no tensor.
    """
    for pattern in patterns:
        full = _full(pattern)
        if not any(fnmatchcase(name, full) for name in every):
            raise InputError(
                Problem(
                    f"{pattern!r} matches no tensor",
                    "watch.captures.what",
                    given=pattern,
                    expected="FAMILY/SITE-OR-PARAMETER with a family of " + ", ".join(CAPTURED),
                    suggestion=nearest(full, every),
                )
            )


def _full(pattern: str) -> str:
    """A pattern with its family."""
    family = pattern.partition("/")[0]
    known = "/" in pattern and (family in CAPTURED or any(mark in family for mark in "*?["))
    return plain_site(pattern if known else f"activation/{pattern}")


def capture_bytes(
    names: Sequence[str],
    sites: Mapping[str, Site],
    layout: ParameterLayout,
    samples: int,
    item: int,
) -> int:
    """The size in bytes of one run's captured tensors at one step, at ``item`` bytes per entry."""
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    size = 0
    for name in names:
        family, _, rest = name.partition("/")
        if family == "activation":
            size += samples * math.prod(sites[rest].shape)
        else:
            size += shapes[rest.rpartition("/")[2]].numel()
    return size * item


@torch.no_grad()
def capture(
    stack: Stack, index: int, names: Sequence[str], probe: Tensor, model: Model
) -> dict[str, Tensor]:
    """One run's tensors after the stack's current step, copied to the CPU.

    Args:
        stack: The stack.
        index: The run's position in the stack.
        names: The tensors' names, as FAMILY/NAME.
        probe: The tokens of the probe batch, (B, T).
        model: A model of the runs' architecture; its parameters are overwritten.
    """
    rows = {"param": stack.theta} | {
        f"optimizer/{name}": row
        for name, row in like_parameters(stack.optimizer_state, stack.theta).items()
    }
    found: dict[str, Tensor] = {}
    for name in names:
        family, _, rest = name.partition("/")
        if family != "activation":
            row, parameter = (family, rest) if family == "param" else name.rsplit("/", 1)
            view = stack.layout.views(rows[row][index : index + 1])[parameter][0]
            found[name] = view.detach().cpu().clone()
    wanted = [name.removeprefix("activation/") for name in names if name.startswith("activation/")]
    if wanted:
        views = stack.layout.views(stack.theta[index : index + 1])
        for name, own in model.named_parameters():
            own.copy_(views[name][0])
        model.eval()
        _, seen = watch(model, probe, wanted)
        found |= {f"activation/{name}": x.detach().cpu().clone() for name, x in seen.items()}
    return {name: found[name] for name in names if name in found}


class Capturer(Observer):
    """Captures tensors of a stack's runs.

    Args:
        configs: What to capture, and when.
        make_model: Creates a model of the runs' architecture.
        sites: The model's sites.
        keep: Saves the tensors of a run after a step.
    """

    def __init__(
        self,
        configs: Sequence[CaptureConfig],
        make_model: Callable[[], Model],
        sites: Mapping[str, Site],
        keep: SaveTensors,
    ) -> None:
        self._configs, self._make_model, self._sites, self._keep = configs, make_model, sites, keep
        self._model: Model | None = None

    def begin(self, stack: Stack) -> None:
        """Captures the initial state, if requested."""
        if stack.step == 0:
            self._at_step(stack, stack.step)

    def next_stop(self, step: int) -> int | None:
        """The next step after ``step`` at which tensors are captured, or None."""
        stops = [config.next_stop(step) for config in self._configs]
        return min((stop for stop in stops if stop is not None), default=None)

    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Captures what is due."""
        self._at_step(stack, stack.step)

    def _at_step(self, stack: Stack, step: int) -> None:
        due = [config for config in self._configs if config.at(step)]
        if not due:
            return
        if self._model is None:
            self._model = self._make_model().to(stack.device)
        found: list[dict[str, Tensor]] = [{} for _ in stack.runs]
        for config in due:
            probe = probe_tokens(stack, config.samples)
            rows = like_parameters(stack.optimizer_state, stack.theta)
            names = capture_names(config.what, every_tensor(self._sites, stack.layout, list(rows)))
            for index in range(len(stack.runs)):
                found[index] |= capture(stack, index, names, probe, self._model)
        for run, tensors in zip(stack.runs, found, strict=True):
            if tensors:  # other architectures may have those that are asked for
                self._keep(run.id, step, tensors)


def probe_tokens(stack: Stack, samples: int) -> Tensor:
    """The tokens of the probe batch, (B, T): the first held-out samples, equal for every run."""
    held_out = stack.task.held_out(max(samples, stack.config.evaluate.samples))
    return torch.from_numpy(held_out.tokens[:samples]).to(stack.device)
