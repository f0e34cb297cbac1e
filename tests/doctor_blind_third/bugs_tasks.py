"""Mistakes in two tasks: what is predicted, what is drawn, what is held out and measured."""

import numpy as np

from ablab.tasks.config import IGNORED
from ablab.tasks.scores import accuracies
from tests.doctor_blind.parts import Bug
from tests.doctor_blind_third.task_parts import Recurrence, Sum, SumConfig

BUGS: list[Bug] = []


def bug(name, cause, *words):
    """Registers a task and gives it settings that name it."""

    def add(task):
        body = {
            "__annotations__": {"kind": str},
            "kind": f"{__name__}:{task.__name__}",
            "__module__": __name__,
        }
        task.Config = type(f"{task.__name__}Config", (task.Config,), body)
        globals()[task.Config.__name__] = task.Config
        BUGS.append(Bug(name, task, cause, words, task.__mro__[1]))
        return task

    return add


@bug(
    "two ahead",
    "the targets are two positions ahead instead of one",
    r"shift",
    r"align",
    r"off by one",
    r"(one|two) positions?",
    r"next token",
    r"ahead",
)
class TwoAhead(Recurrence):
    ahead = 2


@bug(
    "padding predicted",
    "padding is predicted and counts in the loss",
    r"padding",
    r"ignored?\b.*target",
    r"target.*ignored?\b",
)
class PaddingPredicted(Recurrence):
    def ignoring(self, targets):
        return targets


@bug(
    "symbol zero ignored",
    "targets that are the ordinary symbol 0 are ignored instead of padding",
    r"padding",
    r"(token|symbol|target|number) (0|zero)\b",
    r"ignor",
    r"never.*target",
    r"target.*never",
)
class ZeroIgnored(Recurrence):
    def ignoring(self, targets):
        return np.where(targets == 0, IGNORED, targets)


@bug(
    "accuracy against the input",
    "accuracy compares the predictions with the input tokens, not with the targets",
    r"accuracy",
    r"\bmeasures?\b",
)
class AgainstInput(Recurrence):
    def measures(self, logits, tokens, targets):
        return accuracies(logits, tokens[:, self.predicted])


@bug(
    "split by the seed of the run",
    "the split is drawn from the seed of the run, so training contains held-out samples",
    r"held.?out",
    r"overlap",
    r"split",
    r"train.*(evaluat|test)",
)
class SplitBySeed(Sum):
    def split_seed(self, seed):
        return seed


@bug(
    "largest symbol not drawn",
    "the largest number is never drawn in training, but occurs in held-out samples",
    r"never",
    r"not (drawn|seen|occur)",
    r"unseen",
    r"(only|distribut).*held.?out",
    r"held.?out.*(only|distribut|token|symbol)",
)
class LargestMissing(Sum):
    def rows(self, seed, held_out):
        rows = super().rows(seed, held_out)
        return rows if held_out else rows[(self.digits(rows) < self.config.p - 1).all(-1)]


class ThreeTokensConfig(SumConfig):
    """The input is declared as long as it is."""

    @property
    def input_length(self) -> int:
        return 3


@bug(
    "first number cut off",
    "the first number is cut off, so the target depends on a token that is not in the input",
    r"not depend",
    r"does not (determine|follow)",
    r"not determined",
    r"cannot be (learn|predict|determin)",
    r"(random|independent|unrelated|ambiguous)",
    r"outside",
    r"same input.*different",
    r"different.*same input",
    r"\bcut\b|truncat",
)
class FirstCutOff(Sum):
    Config = ThreeTokensConfig

    def shown(self, tokens):
        return tokens[:, 1:]
