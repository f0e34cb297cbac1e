"""The loss of a batch. Axes: B batch, P predicted positions, V vocabulary."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.config import load_object
from ablab.config.own_parts import has_argument, part_error
from ablab.tasks.config import IGNORED
from ablab.train.loss_config import KEY, LINES, LossConfig

OwnLoss = Callable[..., Tensor]
"""A user's loss: of ``logits``, ``targets`` and the keyword ``tokens``."""

# Everything here runs under ``torch.vmap`` and is traced for the innermost layout. It may only use
# operations with rules in both: no gather except nll_loss's, no branches on values.


def own_loss(config: LossConfig) -> OwnLoss | None:
    """The function of a user's loss; None for the losses of ablab."""
    if not config.is_own:
        return None
    function = load_object(config.kind, KEY)
    if has_argument(function, "tokens"):
        return function  # type: ignore[no-any-return]

    def without_tokens(logits: Tensor, targets: Tensor, tokens: Tensor | None) -> Tensor:
        found: Tensor = function(logits, targets)
        return found

    return without_tokens


def batch_loss(
    logits: Tensor,
    targets: Tensor,
    config: LossConfig,
    dtype: torch.dtype,
    ragged: bool,
    own: OwnLoss | None = None,
    tokens: Tensor | None = None,
) -> Tensor:
    """The mean over samples of the mean over a sample's predicted tokens.

    Therefore it does not depend on how a batch is split into parts, even if samples differ in
    length. A sample without predicted tokens counts as zero.

    Args:
        logits: (B, P, V).
        targets: (B, P); ``IGNORED`` where nothing is predicted.
        config: The settings of the loss.
        dtype: The precision in which it is computed.
        ragged: Whether any target may be ``IGNORED``.
        own: The function of a user's loss (:func:`own_loss`).
        tokens: (B, T), for a user's loss.
    """
    logits = logits.to(dtype)
    if config.plain and not ragged:
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    losses = token_losses(logits, targets, config, own, tokens)  # (B, P)
    if not ragged:
        return losses.mean()
    predicted = targets != IGNORED
    sums = losses.masked_fill(~predicted, 0.0).sum(1)
    return (sums / predicted.to(dtype).sum(1).clamp(min=1.0)).mean()


def token_losses(
    logits: Tensor,
    targets: Tensor,
    config: LossConfig,
    own: OwnLoss | None = None,
    tokens: Tensor | None = None,
) -> Tensor:
    """The loss of each token, (B, P); undefined where the target is ``IGNORED``.

    Args:
        logits: (B, P, V), in the precision in which the loss is computed.
        targets: (B, P); ``IGNORED`` where nothing is predicted.
        config: The settings of the loss.
        own: The function of a user's loss; one that it gives for a sample is that of each token.
        tokens: (B, T), for a user's loss.

    Raises:
        InputError: A user's loss does not give a loss for each token or sample.
    """
    if own is not None:
        return _checked(own(logits, targets, tokens=tokens), targets, config.kind).to(logits.dtype)
    if config.kind == "mse":
        return (logits - _one_hot(targets, logits)).square().mean(-1)
    log_p = log_stablemax(logits) if config.kind == "stablemax" else logits.log_softmax(-1)
    flat = F.nll_loss(
        log_p.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORED
    )
    losses = flat.view(targets.shape)
    share = config.label_smoothing
    if share:
        # torch's definition: the target's share is 1 - share + share / V, every other's share / V.
        losses = (1 - share) * losses - share * log_p.mean(-1)
    if config.z_loss:
        losses = losses + config.z_loss * logits.logsumexp(-1).square()
    return losses


def log_stablemax(logits: Tensor) -> Tensor:
    """The logarithm of stablemax, s(x) / Σ s(x) over the last axis.

    s(x) = x + 1 for x ≥ 0, else 1 / (1 - x): Prieto et al., 2025, "Grokking at the Edge of
    Numerical Stability". Unlike an exponential, it does not round to zero next to a large logit.
    """
    # Each branch is clamped to its domain, because the unused branch needs a finite gradient too.
    rising = logits.clamp(min=0.0) + 1.0
    falling = 1.0 / (1.0 - logits.clamp(max=0.0))
    s = torch.where(logits >= 0, rising, falling)
    return s.log() - s.sum(-1, keepdim=True).log()


def _one_hot(targets: Tensor, like: Tensor) -> Tensor:
    """One-hot targets, (B, P, V); zeros where the target is ``IGNORED``."""
    tokens = torch.arange(like.shape[-1], device=targets.device)
    return (targets.unsqueeze(-1) == tokens).to(like.dtype)


def _checked(losses: Tensor, targets: Tensor, kind: str) -> Tensor:
    """What a user's loss gives, as the loss of each token, (B, P)."""
    samples, positions = targets.shape
    shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
    if shape == (samples,):
        return losses[:, None].expand(samples, positions)
    if shape != (samples, positions):
        what = (
            f"gives {shape} for {samples} samples with {positions} targets; expected the loss of "
            f"each token, ({samples}, {positions}), or of each sample, ({samples},)"
        )
        raise part_error(KEY, kind, what, *LINES)
    return losses
