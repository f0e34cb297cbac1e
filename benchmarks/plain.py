"""A run as users write it without ablab: one ordinary module, torch's own optimizer."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ablab.model.forward import Forward
from ablab.train.run import Run
from ablab.train.stack import initial_model, make_task


def plain_loop(
    run: Run, device: torch.device | str = "cpu", compiled: bool = False, careful: bool = False
) -> Callable[[int], None]:
    """A function that trains so many further steps; nothing is logged.

    Fused attention, torch's fused AdamW (or its Adam, where the run has that), clipping where the
    run has it. Batches are drawn as it goes, ten steps at a time.

    Args:
        run: The run.
        device: Where it is trained.
        compiled: Whether torch compiles the model.
        careful: Whether torch compiles the loss with the model, which computes no earlier
            positions than the loss needs.
    """
    model = initial_model(run).to(device)
    if run.train.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=run.train.lr)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=run.train.lr, fused=True)
    call = torch.compile(model) if compiled else model
    task, clip = make_task(run), run.train.clip_norm
    loss_of: Callable[[Tensor, Tensor], Tensor] = partial(_loss, call, task.predicted, None)
    if careful:
        length = task.draw(run.seed, 1, 1, 1).tokens.shape[-1]
        first, last, every = task.predicted.indices(length)
        if first and model.trims and not run.model.dropout:
            loss_of = partial(_loss, model, slice(0, last - first, every), first)
        loss_of = torch.compile(loss_of)
    step = 0

    def advance(steps: int) -> None:
        nonlocal step
        for first in range(0, steps, 10):
            drawn = min(10, steps - first)
            batch = task.draw(run.seed, step + 1, drawn, run.train.batch_size)
            tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
            for k in range(drawn):
                loss = loss_of(tokens[k].to(device), targets[k].to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
            step += drawn

    return advance


def _loss(
    call: Callable[..., Tensor],
    positions: slice,
    first: int | None,
    tokens: Tensor,
    targets: Tensor,
) -> Tensor:
    logits = call(tokens) if first is None else call(tokens, Forward(first=first))
    return F.cross_entropy(logits[:, positions].flatten(0, 1), targets.flatten())
