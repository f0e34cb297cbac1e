"""A run as a careful user writes it without ablab: one ordinary module, torch's own optimizer."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from ablab.train.run import Run
from ablab.train.stack import initial_model, make_task


def plain_loop(
    run: Run, device: torch.device | str = "cpu", compiled: bool = False
) -> Callable[[int], None]:
    """A function that trains so many further steps; nothing is logged.

    Fused attention, torch's fused AdamW (or its Adam, where the run has that), clipping where the
    run has it. Batches are drawn as it goes, ten steps at a time.
    """
    model = initial_model(run).to(device)
    if run.train.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=run.train.lr)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=run.train.lr, fused=True)
    call = torch.compile(model) if compiled else model
    task, clip = make_task(run), run.train.clip_norm
    step = 0

    def advance(steps: int) -> None:
        nonlocal step
        for first in range(0, steps, 10):
            drawn = min(10, steps - first)
            batch = task.draw(run.seed, step + 1, drawn, run.train.batch_size)
            tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
            for k in range(drawn):
                logits = call(tokens[k].to(device))[:, task.predicted]
                loss = F.cross_entropy(logits.flatten(0, 1), targets[k].flatten().to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
            step += drawn

    return advance
