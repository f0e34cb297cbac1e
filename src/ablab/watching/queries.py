"""Generates text from queries while runs train. Axes: R runs."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from ablab.config import InputError, Problem
from ablab.model.base import Model
from ablab.model.generate import Sampling
from ablab.tasks.base import Task
from ablab.train.advance import Advance
from ablab.train.loop import Observer
from ablab.train.objective import DTYPES
from ablab.train.precision import products_during
from ablab.train.stack import Stack
from ablab.watching.config import GenerateConfig, QueryConfig

SaveTexts = Callable[[str, int, list[dict[str, Any]]], None]  # (run, step, answered queries)
KEY = "watch.generate.queries"


def answer_queries(
    model: Model, task: Task, queries: Sequence[QueryConfig], precision: str
) -> list[dict[str, Any]]:
    """Each query as plain data, with the prompt and its continuation as ``text``.

    Args:
        model: The model, in the dtype of its precision.
        task: The task, which says how text becomes tokens.
        queries: The queries.
        precision: The precision of generation.

    Raises:
        InputError: A prompt cannot be tokenized, or leaves nothing to generate.
    """
    device = next(model.parameters()).device
    found = []
    for query in queries:
        tokens = query_tokens(task, query).to(device)
        count = min(query.tokens, tokens_left(task, len(tokens), query.tokens))
        sampling = Sampling(query.temperature, query.top_k, query.top_p, query.seed)
        with products_in(precision, device):
            drawn = list(model.stream(tokens[None], count, sampling))
        text = task.text(torch.cat([tokens, *drawn]).cpu().numpy())
        found.append(query.model_dump() | {"precision": precision, "text": text})
    return found


def query_tokens(task: Task, query: QueryConfig) -> torch.Tensor:
    """The tokens of a query's prompt, (T,).

    Raises:
        InputError: The prompt cannot be tokenized, or is already a complete sample.
    """
    try:
        tokens = torch.from_numpy(task.tokens(query.prompt))
    except (ValueError, KeyError) as error:
        problem = Problem(f"the prompt cannot be tokenized: {error}", KEY, given=query.prompt)
        raise InputError(problem) from error
    if not len(tokens) or tokens_left(task, len(tokens), 1) < 1:
        what = "is already a complete sample" if len(tokens) else "has no tokens"
        problem = Problem(f"the prompt {what}", KEY, given=query.prompt)
        raise InputError(replace(problem, expected="the beginning of a sample"))
    return tokens


def tokens_left(task: Task, given: int, asked: int) -> int:
    """How many tokens can follow a prompt: all that are asked for if the task is endless."""
    # The last token of a sample is never an input.
    return asked if task.config.endless else task.config.input_length + 1 - given


def products_in(precision: str | None, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 where that is the precision, else in the model's own dtype."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    return nullcontext()


class QueryObserver(Observer):
    """Generates text from the queries of an experiment at some steps, for each run of a stack.

    Args:
        config: The queries, and when.
        make_model: Creates a model of the runs' architecture.
        save: Saves a run's texts after a step.
    """

    def __init__(
        self, config: GenerateConfig, make_model: Callable[[], Model], save: SaveTexts
    ) -> None:
        self._config, self._make_model, self._save = config, make_model, save
        self._model: Model | None = None

    def begin(self, stack: Stack) -> None:
        """Generates from the initial state, if requested."""
        if stack.step == 0 and self._config.at(0):
            self._generate(stack)

    def next_stop(self, step: int) -> int | None:
        """The next step after ``step`` at which text is generated, or None."""
        return self._config.next_stop(step)

    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Generates if it is due, and at the last step."""
        if self._is_due(stack):
            self._generate(stack)

    def ended(self, stack: Stack, advance: Advance, runs: Sequence[str]) -> None:
        """Generates for runs that end, as this is their last step."""
        if not self._is_due(stack):
            self._generate(stack, runs)

    def _is_due(self, stack: Stack) -> bool:
        return self._config.at(stack.step) or stack.step == stack.config.steps

    @torch.no_grad()
    def _generate(self, stack: Stack, only: Sequence[str] | None = None) -> None:
        """Generates for some of the runs; None for all."""
        own = stack.config.precision
        precision = self._config.precision or own
        if self._model is None:
            self._model = self._make_model().to(stack.device, DTYPES[precision]).eval()
        with products_during(stack.device, precision, own):
            for index, run in enumerate(stack.runs):
                if only is not None and run.id not in only:
                    continue
                if not bool(stack.theta[index].isfinite().all()):
                    continue  # it has diverged
                views = stack.layout.views(stack.theta[index : index + 1])
                for name, parameter in self._model.named_parameters():
                    parameter.copy_(views[name][0])
                found = answer_queries(self._model, stack.task, self._config.queries, precision)
                self._save(run.id, stack.step, found)
