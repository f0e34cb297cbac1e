"""Analyses of a user's own, for tests."""

import polars as pl
import torch

from ablab.analysis.analysis import analysis
from ablab.analysis.finding import Finding
from ablab.config import Config


class HeldOutSettings(Config):
    samples: int = 16
    """How many samples the model is tried on."""


@analysis(
    "held_out",
    question="How well does it do on held-out samples?",
    needs=["model", "task"],
    cost="one forward pass",
    settings=HeldOutSettings,
)
def held_out(subject, settings):
    batch = subject.task.held_out(settings.samples)
    tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    with torch.no_grad():
        logits = subject.model(tokens)[:, subject.task.predicted]
    right = (logits.argmax(-1) == targets).double()
    table = pl.DataFrame({"position": range(right.shape[1]), "accuracy": right.mean(0).tolist()})
    return Finding({"accuracy": float(right.mean())}, {"positions": table})


@analysis("drawn", question="Is it the same twice?", needs=["model"], cost="nothing")
def drawn(subject, settings):
    training = any(module.training for module in subject.model.modules())
    return Finding({"draw": float(torch.rand(())), "training": float(training), "none": None})


@analysis("parameter_norms", question="Whose is it?", needs=["model"], cost="nothing")
def of_the_same_name(subject, settings):
    return Finding({"infinite": float("inf")})


def undecorated(subject, settings):
    return Finding()
