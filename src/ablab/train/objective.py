"""One run's loss and measures as functions of its parameters. Axes: B, T, P, V; N dropout words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from ablab.model.base import Model
from ablab.model.forward import Forward, Kernels, Noise, NoiseCounter, Tap
from ablab.tasks.base import Task
from ablab.tasks.scores import is_right
from ablab.train.full_sequence import tap_full_sequence
from ablab.train.loss_config import LossConfig
from ablab.train.losses import batch_loss, own_loss, token_losses
from ablab.train.stored_programs import are_shipped

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,  # the dtype of parameters; only products use bfloat16
    "tf32": torch.float32,
}


class Objective:
    """The loss and the measures of one run.

    Args:
        model: A template; the values of its parameters are never read.
        task: The task.
        loss: The settings of the loss, including its precision.
        autocast: Whether matrix products use bfloat16.

    Attributes:
        model: The template.
        buffers: Its buffers by name.
        noise_sizes: The random words that each dropout mask needs per sample, in order.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        loss: LossConfig,
        autocast: bool = False,
        noise_sizes: Sequence[int] = (),
    ) -> None:
        self.model = model
        self.noise_sizes = noise_sizes
        self._task = task
        assert loss.dtype is not None, "the configuration fills loss.dtype"
        self._loss, self._own_loss = loss, own_loss(loss)
        self._dtype = DTYPES[loss.dtype]
        self._autocast = autocast
        self._ragged = task.config.ragged
        self.buffers = dict(model.named_buffers())

    @property
    def is_shipped(self) -> bool:
        """Whether the task and all modules of the model are ablab's or torch's, not a user's."""
        return are_shipped(type(self._task), *{type(each) for each in self.model.modules()})

    def loss(
        self,
        parameters: dict[str, Tensor],
        tokens: Tensor,
        targets: Tensor,
        noise: Tensor | None,
        *,
        kernels: Kernels,
        taps: Mapping[str, Tap] | None = None,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The mean training loss of a batch, a scalar.

        Args:
            parameters: Parameters by name.
            tokens: (B, T).
            targets: (B, P).
            noise: Random words for dropout, (B, N); None without dropout.
            kernels: The kernels that the model uses.
            taps: Functions that read the tensors at sites, by site. They see all positions and
                must return their argument.
            buffers: Buffers by name; by default those of the template.
        """
        words = None if noise is None else Noise(noise, self.noise_sizes)
        forward = Forward(taps or {}, noise=words, kernels=kernels)
        tensors = {**parameters, **(buffers or {})}
        forward, predicted = self._trim(tensors, tokens, forward)
        with self._precision(tokens):
            logits = functional_call(self.model, tensors, (tokens, forward))[:, predicted]
        return batch_loss(
            logits, targets, self._loss, self._dtype, self._ragged, self._own_loss, tokens
        )

    def measures(
        self, parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor, kernels: Kernels
    ) -> dict[str, Tensor]:
        """The loss and the task's measures of a batch, by name.

        If the loss is not plain cross-entropy, ``cross_entropy`` is included as well.
        """
        return self._measures(self._logits(parameters, tokens, kernels), tokens, targets)

    def measures_and_tokens(
        self, parameters: dict[str, Tensor], tokens: Tensor, targets: Tensor, kernels: Kernels
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The measures of a batch, and the ``loss`` and ``accuracy`` of each token, (B, P).

        Tokens have an accuracy only if the task has that measure. At positions without a target,
        the values have no meaning.
        """
        logits = self._logits(parameters, tokens, kernels)
        measures = self._measures(logits, tokens, targets)
        in_precision = logits.to(self._dtype)
        by_token = {"loss": token_losses(in_precision, targets, self._loss, self._own_loss, tokens)}
        if "accuracy" in measures:
            by_token["accuracy"] = is_right(logits, targets).to(self._dtype)
        return measures, by_token

    def _logits(self, parameters: dict[str, Tensor], tokens: Tensor, kernels: Kernels) -> Tensor:
        """The logits at the predicted positions, (B, P, V), in evaluation."""
        forward, predicted = self._trim(parameters, tokens, Forward(kernels=kernels))
        with self._precision(tokens):
            logits: Tensor = functional_call(self.model, parameters, (tokens, forward))
        return logits[:, predicted]

    def _measures(self, logits: Tensor, tokens: Tensor, targets: Tensor) -> dict[str, Tensor]:
        measures = dict(self._task.measures(logits, tokens, targets))
        settings = (self._dtype, self._ragged)
        if not self._loss.plain:
            measures["cross_entropy"] = batch_loss(logits, targets, LossConfig(), *settings)
        loss = batch_loss(logits, targets, self._loss, *settings, self._own_loss, tokens)
        return measures | {"loss": loss}

    @torch.no_grad()
    def count_noise(self, input_length: int, device: torch.device) -> Sequence[int]:
        """Counts and keeps ``noise_sizes``, for samples of some length."""
        counter = NoiseCounter()
        tokens = torch.zeros(1, input_length, dtype=torch.long, device=device)
        self.model(tokens, Forward(noise=counter))
        self.noise_sizes = counter.sizes
        return counter.sizes

    def _trim(
        self, tensors: dict[str, Tensor], tokens: Tensor, forward: Forward
    ) -> tuple[Forward, slice]:
        """A pass that skips positions whose logits are not used, if the model supports it.

        Returns:
            The pass, and the predicted positions among those that it computes.
        """
        predicted = self._task.predicted
        first, last, step = predicted.indices(tokens.shape[1])
        # Dropout masks take a sample's words in order, for all positions.
        if first == 0 or step < 1 or not self.model.trims or forward.noise is not None:
            return forward, predicted
        if forward.taps:
            taps = self._full_sequence_taps(tensors, tokens, forward, first)
            forward = replace(forward, taps=taps)
        return replace(forward, first=first), slice(0, max(0, last - first), step)

    def _full_sequence_taps(
        self, tensors: dict[str, Tensor], tokens: Tensor, forward: Forward, first: int
    ) -> dict[str, Tap]:
        """Taps that see all positions in a pass over the positions from ``first`` on."""
        trimmed = [site for site in forward.taps if self.model.trims_site(site)]
        if not trimmed:
            return dict(forward.taps)
        every: dict[str, Tensor] = {}

        def store(site: str) -> Tap:
            return lambda tensor: every.setdefault(site, tensor)

        def show(site: str, tap: Tap) -> Tap:
            return lambda late: tap_full_sequence(every.pop(site), late, first, tap)

        stores = {site: store(site) for site in trimmed}
        with torch.no_grad(), self._precision(tokens):
            functional_call(
                self.model, tensors, (tokens, replace(forward, taps=stores, visited=[]))
            )
        return {**forward.taps, **{site: show(site, forward.taps[site]) for site in trimmed}}

    def _precision(self, tokens: Tensor) -> torch.autocast:
        # torch would cache the cast of a parameter for the next pass, which is useless under vmap.
        return torch.autocast(
            tokens.device.type, torch.bfloat16, enabled=self._autocast, cache_enabled=False
        )
