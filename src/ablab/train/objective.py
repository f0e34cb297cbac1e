"""One run's loss and measures as functions of its parameters. Axes: B, T, P, V; N dropout words."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from ablab.model.base import Model
from ablab.model.forward import Forward, Kernels, Noise, NoiseCounter, Tap
from ablab.tasks.base import Task
from ablab.train.config import LossConfig
from ablab.train.full_sequence import tap_full_sequence
from ablab.train.losses import batch_loss

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,  # of parameters; products alone are taken in bfloat16
    "tf32": torch.float32,
}


class Objective:
    """What is minimised and measured, knowing one run.

    Args:
        model: A template; its parameters' values are never read.
        task: The task.
        loss: Which loss, its precision filled in.
        autocast: Whether matrix products are taken in bfloat16.
    """

    def __init__(self, model: Model, task: Task, loss: LossConfig, autocast: bool = False) -> None:
        self.model = model
        self._task = task
        assert loss.dtype is not None, "the configuration fills loss.dtype"
        self._loss = loss
        self._dtype = DTYPES[loss.dtype]
        self._autocast = autocast
        self.buffers = dict(model.named_buffers())

    def loss(
        self,
        tensors: dict[str, Tensor],
        tokens: Tensor,
        targets: Tensor,
        noise: Tensor | None,
        kernels: Kernels,
        taps: Mapping[str, Tap] | None = None,
    ) -> Tensor:
        """The mean loss of a batch, in training.

        Args:
            tensors: Parameters by name, and buffers where they are not the template's own.
            tokens: (B, T).
            targets: (B, P).
            noise: Random words of dropout, (B, N), where the model has any.
            kernels: The engine's operations.
            taps: Functions that read the tensors at sites, by the site's name; they see all
                positions and change none.
        """
        forward = Forward(
            taps or {}, noise=None if noise is None else Noise(noise), kernels=kernels
        )
        return self._batch_loss(self._answers(tensors, tokens, forward), targets, self._loss)

    def measures(
        self, tensors: dict[str, Tensor], tokens: Tensor, targets: Tensor, kernels: Kernels
    ) -> dict[str, Tensor]:
        """The loss and the task's measures of a batch, by name.

        Where the loss is another than cross-entropy, that is measured too, as ``cross_entropy``.
        """
        logits = self._answers(tensors, tokens, Forward(kernels=kernels))
        measures = self._task.measures(logits, tokens, targets)
        if not self._loss.plain:
            measures |= {"cross_entropy": self._batch_loss(logits, targets, LossConfig())}
        return measures | {"loss": self._batch_loss(logits, targets, self._loss)}

    @torch.no_grad()
    def noise_sizes(self, input_length: int, device: torch.device) -> list[int]:
        """How many random words each dropout mask of a sample needs, in order."""
        counter = NoiseCounter()
        tokens = torch.zeros(1, input_length, dtype=torch.long, device=device)
        self.model(tokens, Forward(noise=counter))
        return counter.sizes

    def _answers(self, tensors: dict[str, Tensor], tokens: Tensor, forward: Forward) -> Tensor:
        """The logits of the predicted positions, (B, P, V)."""
        predicted = self._task.predicted
        first, last, step = predicted.indices(tokens.shape[1])
        # Dropout's masks are cut from a sample's words in order, of all positions.
        if first == 0 or step < 1 or not self.model.trims or forward.noise is not None:
            return self._logits(tensors, tokens, forward)[:, predicted]
        if forward.taps:
            forward = replace(forward, taps=self._whole(tensors, tokens, forward, first))
        logits = self._logits(tensors, tokens, replace(forward, first=first))
        return logits[:, slice(0, max(0, last - first), step)]

    def _whole(
        self, tensors: dict[str, Tensor], tokens: Tensor, forward: Forward, first: int
    ) -> dict[str, Tap]:
        """A pass's taps for one of the positions from ``first`` on, which are shown all of them."""
        cut = [site for site in forward.taps if self.model.trims_site(site)]
        if not cut:
            return dict(forward.taps)
        every: dict[str, Tensor] = {}

        def keep(site: str) -> Tap:
            return lambda tensor: every.setdefault(site, tensor)

        def show(site: str, tap: Tap) -> Tap:
            return lambda late: tap_full_sequence(every.pop(site), late, first, tap)

        with torch.no_grad():
            kept = {site: keep(site) for site in cut}
            self._logits(tensors, tokens, replace(forward, taps=kept, visited=[]))
        return {**forward.taps, **{site: show(site, forward.taps[site]) for site in cut}}

    def _logits(self, tensors: dict[str, Tensor], tokens: Tensor, forward: Forward) -> Tensor:
        # torch would keep a parameter's cast for the next pass, which vmap has no use for.
        with torch.autocast(
            tokens.device.type, torch.bfloat16, enabled=self._autocast, cache_enabled=False
        ):
            logits: Tensor = functional_call(self.model, tensors, (tokens, forward))
        return logits

    def _batch_loss(self, logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
        return batch_loss(logits, targets, config, self._dtype, self._task.config.ragged)
