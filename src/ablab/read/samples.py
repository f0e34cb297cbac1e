"""The output of a run's model: predictions on held-out samples, and generated text."""

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
from ablab.train.objective import DTYPES
from ablab.watching.queries import products_in

_AT_ONCE = 256  # samples per forward pass


@dataclass(frozen=True)
class Answer:
    """A held-out sample and the model's prediction.

    Attributes:
        prompt: The input, as text.
        prediction: The prediction, as text.
        target: The correct answer, as text.
        accuracy: The fraction of the target's tokens that were predicted correctly.
    """

    prompt: str
    prediction: str
    target: str
    accuracy: float


def held_out_answers(run: StoredRun, samples: int, step: int | None = None) -> list[Answer]:
    """A run's predictions on held-out samples, worst first.

    Args:
        run: The run.
        samples: The maximum number of samples.
        step: The step of the snapshot; by default, the last one.

    Raises:
        StoreError: There is no such snapshot.
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
    precision: str | None = None,
) -> Iterator[list[str]]:
    """Generates text after a prompt; yields the text of each sample so far after every token.

    Args:
        run: The run.
        prompt: Text in the task's own symbols; empty to start a new text.
        count: The number of tokens to generate.
        sampling: How tokens are drawn.
        samples: The number of samples.
        step: The step of the snapshot; by default, the last one.
        cached: See :func:`ablab.model.generate.stream`.
        context: See :func:`ablab.model.generate.stream`.
        precision: The precision of generation; by default, that of the parameters.

    Raises:
        InputError: The prompt cannot be tokenized, the task needs one, or the context is too long.
        StoreError: There is no such snapshot.
    """
    model, task = _loaded(run, step)
    given = torch.from_numpy(_tokens(task, prompt))
    if not task.config.endless:
        left = task.config.input_length + 1 - len(given)  # the last token is never an input
        if left < 1:
            problem = Problem("the prompt is already a complete sample", "--prompt", given=prompt)
            raise InputError(replace(problem, expected=_example(task)))
        count = min(count, left)
    if context is not None and model.longest is not None and context > model.longest:
        raise InputError(
            Problem(
                f"this model has positions for {model.longest} tokens only",
                "--context",
                given=context,
            )
        )
    read = given.expand(samples, -1)
    if precision is not None:
        model = model.to(DTYPES[precision])
    stream = model.stream(read, count, sampling, cached=cached, context=context)
    while True:
        with products_in(precision, read.device):
            token = next(stream, None)
        if token is None:
            break
        read = torch.cat([read, token[:, None]], dim=1)
        yield [task.text(row) for row in read.numpy()]


def _loaded(run: StoredRun, step: int | None) -> tuple[Model, Task]:
    model = run.model(step)
    assert isinstance(model, Model), "the model of a run is an ablab model"
    return model, run.task()


def _question(task: Task, sample: np.ndarray) -> np.ndarray:
    """The tokens of a sample before its answer; all tokens if the task has no separate answer."""
    if task.config.source_length is None:
        return sample
    return sample[: task.predicted.indices(len(sample))[0] + 1]


def _tokens(task: Task, prompt: str) -> np.ndarray:
    if not prompt:
        prompt = "\n" if task.config.endless else ""  # a new text starts after a newline
    try:
        tokens = task.tokens(prompt)
    except (ValueError, KeyError) as error:
        what = f"the prompt cannot be tokenized: {error}"
        if prompt == "\n":
            what = "a prompt is needed, because this corpus has no newline to start from"
        problem = Problem(what, "--prompt", given=prompt, expected=_example(task))
        raise InputError(problem) from error
    if not len(tokens):
        raise InputError(Problem("a prompt is needed", "--prompt", expected=_example(task)))
    return tokens


def _example(task: Task) -> str:
    sample = task.held_out(1).tokens[0]
    return f"a prompt such as {task.text(_question(task, sample))!r}"
