"""Analyses of a user's own, for tests."""

import time

import numpy as np
import polars as pl
import torch

from ablab.analysis.analysis import analysis
from ablab.analysis.figures import Bars, HeatMap
from ablab.analysis.finding import Finding
from ablab.analysis.subject import DoesNotApplyError
from ablab.config import Config


class HeldOutSettings(Config):
    samples: int = 16
    """How many samples the model is tried on."""


@analysis(
    "held_out",
    question="How well does it do on held-out samples?",
    inputs=["model", "task"],
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


@analysis("drawn", question="Is it the same twice?", inputs=["model"], cost="nothing")
def drawn(subject, settings):
    training = any(module.training for module in subject.model.modules())
    return Finding({"draw": float(torch.rand(())), "training": float(training), "none": None})


@analysis("parameter_norms", question="Whose is it?", inputs=["model"], cost="nothing")
def of_the_same_name(subject, settings):
    return Finding({"infinite": float("inf")})


def undecorated(subject, settings):
    return Finding()


class TellingSettings(Config):
    factor: float = 1.0
    """What each value is multiplied by."""


def told(subject):
    """Is replaced by tests that count."""


@analysis(
    "telling",
    question="Is it asked?",
    inputs=["model"],
    cost="nothing",
    settings=TellingSettings,
    figures=[
        Bars("numbers", "Numbers", "each", ("name",), "number", "name", "count"),
        HeatMap("square", "A square", "square", "column", "row", "value"),
    ],
)
def telling(subject, settings):
    told(subject)
    table = pl.DataFrame({"name": ["one", "two"], "number": [1, 2]})
    return Finding(
        {"value": settings.factor}, {"each": table}, {"square": np.array([[1, 2], [3, 4]])}
    )


@analysis("failing", question="Does it fail in the end?", inputs=["model"], cost="nothing")
def failing(subject, settings):
    if subject.step == 8:
        raise ZeroDivisionError("no luck")
    return Finding({"value": 1.0})


@analysis("always_failing", question="Does it fail?", inputs=["model"], cost="nothing")
def always_failing(subject, settings):
    raise ZeroDivisionError("no luck")


@analysis("elsewhere", question="Is it elsewhere?", inputs=["model", "task"], cost="nothing")
def elsewhere(subject, settings):
    raise DoesNotApplyError(f"the task is {subject.task.config.kind}")


class SlowSettings(Config):
    seconds: float = 0.0
    """How long it takes."""


@analysis("slow", question="Does it take long?", inputs=["model"], cost="", settings=SlowSettings)
def slow(subject, settings):
    time.sleep(settings.seconds)
    return Finding({"value": 1.0})


@analysis(
    "beside_last", question="How far is the end?", inputs=["model", "last_model"], cost="nothing"
)
def beside_last(subject, settings):
    told(subject)
    last = subject.last
    asked = last.memo["asked"] = last.memo.get("asked", 0) + 1
    own, other = (each.model.get_parameter("embedding.weight") for each in (subject, last))
    distance = float((own - other).detach().double().square().sum())
    step = -1.0 if last.step is None else float(last.step)
    return Finding({"step": step, "asked": float(asked), "distance": distance})


@analysis("trained_only", question="What does training change?", inputs=["model"], cost="nothing")
def trained_only(subject, settings):
    if subject.step in (0, None):
        raise DoesNotApplyError("the model is not trained")
    return Finding({"step": float(subject.step)})
