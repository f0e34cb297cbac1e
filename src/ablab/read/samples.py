"""What a run answers: its predictions on held-out samples, and text that it generates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ablab.config import InputError, Problem
from ablab.model.base import Model
from ablab.model.generate import Sampling, answers
from ablab.store.stored_run import StoredRun
from ablab.tasks.base import Task
from ablab.tasks.config import IGNORED
from ablab.train.stack import make_task

_AT_ONCE = 256  # samples


@dataclass(frozen=True)
class Answer:
    """A held-out sample with what was predicted.

    Attributes:
        prompt: What the model reads, as text.
        prediction: What it predicts.
        target: What is right.
        accuracy: The share of the target's tokens that were predicted.
    """

    prompt: str
    prediction: str
    target: str
    accuracy: float


def held_out_answers(run: StoredRun, samples: int, step: int | None = None) -> list[Answer]:
    """A run's answers to held-out samples, the worst first.

    Args:
        run: The run.
        samples: How many samples at most.
        step: Which snapshot; the last by default.
    """
    model, task = _loaded(run, step)
    batch = task.held_out(samples)
    found = []
    for start in range(0, len(batch.tokens), _AT_ONCE):
        tokens, targets = (part[start : start + _AT_ONCE] for part in (batch.tokens, batch.targets))
        predicted = answers(model, task, torch.from_numpy(tokens)).numpy()
        for sample, prediction, target in zip(tokens, predicted, targets, strict=True):
            there = target != IGNORED
            right = prediction[there] == target[there]
            found.append(
                Answer(
                    task.text(_question(task, sample)),
                    task.text(prediction[there]),
                    task.text(target[there]),
                    float(right.mean()) if len(right) else 1.0,
                )
            )
    return sorted(found, key=lambda answer: answer.accuracy)


def continuations(
    run: StoredRun,
    prompt: str,
    count: int,
    sampling: Sampling,
    *,
    samples: int = 1,
    step: int | None = None,
    cached: bool = True,
    context: int | None = None,
) -> Iterator[list[str]]:
    """What a run writes after a prompt: the text of each sample so far, token by token.

    Args:
        run: The run.
        prompt: Text in the task's own symbols; empty for a text's beginning.
        count: How many tokens follow.
        sampling: How they are drawn.
        samples: How many samples.
        step: Which snapshot; the last by default.
        cached: See :func:`ablab.model.generate.stream`.
        context: See there.

    Raises:
        InputError: The prompt cannot be read, or the task needs one.
    """
    model, task = _loaded(run, step)
    given = torch.from_numpy(_tokens(task, prompt))
    if not task.config.endless:
        left = task.config.input_length + 1 - len(given)  # the last token is never read back
        if left < 1:
            problem = Problem("the prompt is a whole sample", "--prompt", given=prompt)
            raise InputError(replace(problem, expected=_example(task)))
        count = min(count, left)
    if context is not None and model.longest is not None and context > model.longest:
        raise InputError(
            Problem(
                f"this model's positions end at {model.longest} tokens", "--context", given=context
            )
        )
    read = given.expand(samples, -1)
    for token in model.stream(read, count, sampling, cached=cached, context=context):
        read = torch.cat([read, token[:, None]], dim=1)
        yield [task.text(row) for row in read.numpy()]


def _loaded(run: StoredRun, step: int | None) -> tuple[Model, Task]:
    model = run.model(step)
    assert isinstance(model, Model), "a run's model is ablab's"
    return model, make_task(run.run)


def _question(task: Task, sample: np.ndarray) -> np.ndarray:
    """The tokens of a sample before its answer; all of them where there is no border."""
    if task.config.source_length is None:
        return sample
    return sample[: task.predicted.indices(len(sample))[0] + 1]


def _tokens(task: Task, prompt: str) -> np.ndarray:
    if not prompt:
        prompt = "\n" if task.config.endless else ""  # how a text begins
    try:
        tokens = task.tokens(prompt)
    except (ValueError, KeyError) as error:
        what = f"the prompt cannot be read: {error}"
        if prompt == "\n":
            what = "this text has no new line to begin from, so a prompt is needed"
        problem = Problem(what, "--prompt", given=prompt, expected=_example(task))
        raise InputError(problem) from error
    if not len(tokens):
        raise InputError(Problem("a prompt is needed", "--prompt", expected=_example(task)))
    return tokens


def _example(task: Task) -> str:
    sample = task.held_out(1).tokens[0]
    return f"one like {task.text(_question(task, sample))!r}"
