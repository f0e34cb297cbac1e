"""Mistakes in tasks that are written to the task interface."""

# ruff: noqa: E501 (tables of words and names)

import numpy as np

from ablab.tasks.base import Batch
from ablab.tasks.sequences import Copy
from ablab.tasks.sequences_config import CopyConfig
from tests.doctor_blind.parts import Bug

BUGS: list[Bug] = []


def bug(name, cause, *words):
    """Registers a task and gives it settings that name it."""

    def add(task):
        path = f"{__name__}:{task.__name__}"
        body = {"__annotations__": {"kind": str}, "kind": path, "__module__": __name__}
        task.Config = type(f"{task.__name__}Config", (Settings,), body)
        globals()[task.Config.__name__] = task.Config
        BUGS.append(Bug(name, task, cause, words, Copy))
        return task

    return add


class Settings(CopyConfig):
    kind: str = ""
    n_symbols: int = 10
    length: int = 5


class Own(Copy):
    def _made(self, rng, *shape, held_out=False):
        rows = rng.integers(0, self.config.n_symbols, (*shape, self.config.length))
        rows = rows.reshape(-1, shape[-1], self.config.length)
        rows = self.config.split.on_side(rows, 0, 0, held_out=held_out)
        return self._batch(rows.reshape(*shape, self.config.length))


@bug(
    "targets shifted",
    "the targets are shifted by one position",
    r"shift",
    r"align",
    r"off by one",
    r"one position",
)
class Shifted(Own):
    def _batch(self, sequences):
        batch = super()._batch(sequences)
        return Batch(batch.tokens, np.roll(batch.targets, 1, axis=-1))


@bug("answer in the prompt", "the input contains each target where it is predicted", r"answer", r"leak", r"contain.*target",
     r"target.*(input|prompt)", r"same position")  # fmt: skip
class AnswerInPrompt(Own):
    def _batch(self, sequences):
        batch = super()._batch(sequences)
        tokens = batch.tokens.copy()
        tokens[..., self.config.length :] = batch.targets
        return Batch(tokens, batch.targets)


@bug(
    "same batch",
    "every step has the same batch",
    r"same batch",
    r"every step",
    r"step.*(ignor|same|no effect)",
    r"repeat",
)
class SameBatch(Own):
    def draw(self, seed, first_step, steps, batch_size):
        batches = [self._made(np.random.default_rng(seed), batch_size) for _ in range(steps)]
        return Batch(np.stack([b.tokens for b in batches]), np.stack([b.targets for b in batches]))


@bug("seed ignored", "the seed is ignored", r"seed")
class NoSeed(Own):
    def draw(self, seed, first_step, steps, batch_size):
        return super().draw(0, first_step, steps, batch_size)


@bug("draw by chunk", "a batch depends on how many steps are drawn at once", r"chunk", r"at once", r"first_step",
     r"how many steps", r"number of steps", r"one (step )?(by|at) (one|a time)")  # fmt: skip
class ByChunk(Own):
    def draw(self, seed, first_step, steps, batch_size):
        return self._made(np.random.default_rng((seed, first_step)), steps, batch_size)


@bug("seeds collide", "step 2 of seed 0 is step 1 of seed 1", r"seed", r"collid", r"share.*batch")
class Collide(Own):
    def draw(self, seed, first_step, steps, batch_size):
        made = [
            self._made(np.random.default_rng(seed + first_step + k), batch_size)
            for k in range(steps)
        ]
        return Batch(np.stack([b.tokens for b in made]), np.stack([b.targets for b in made]))


@bug(
    "held-out in training",
    "held-out samples are those of the first training step",
    r"held.?out",
    r"overlap",
    r"train.*(evaluat|test)",
)
class Overlap(Own):
    def held_out(self, samples):
        batch = self.draw(0, 1, 1, samples)
        return Batch(batch.tokens[0], batch.targets[0])


@bug(
    "random evaluation",
    "the held-out samples differ in each call",
    r"held.?out.*(differ|random|chang)",
    r"each call",
    r"determin",
    r"call",
)
class RandomHeldOut(Own):
    def held_out(self, samples):
        return self._made(np.random.default_rng(), samples, held_out=True)


@bug(
    "vocabulary too small", "tokens are beyond the vocabulary", r"vocab", r"beyond", r"out of range"
)
class Beyond(Own):
    def _batch(self, sequences):
        batch = super()._batch(sequences)
        return Batch(batch.tokens + 3, batch.targets + 3)


@bug(
    "random targets",
    "the targets do not depend on the input",
    r"random",
    r"independent",
    r"not depend",
    r"unrelated",
    r"cannot be learn",
)
class Unrelated(Own):
    def draw(self, seed, first_step, steps, batch_size):
        batch = super().draw(seed, first_step, steps, batch_size)
        return Batch(batch.tokens, super().draw(seed + 1000, first_step, steps, batch_size).targets)


@bug(
    "one sample per batch",
    "all samples of a batch are the same",
    r"same sample",
    r"identical",
    r"duplicate",
    r"samples?.*same",
    r"repeat",
)
class OneSample(Own):
    def draw(self, seed, first_step, steps, batch_size):
        batch = super().draw(seed, first_step, steps, 1)
        return Batch(batch.tokens.repeat(batch_size, 1), batch.targets.repeat(batch_size, 1))


@bug(
    "constant target",
    "the target is always the same token",
    r"constant",
    r"always",
    r"same (target|token)",
)
class Always(Own):
    def _batch(self, sequences):
        batch = super()._batch(sequences)
        return Batch(batch.tokens, np.zeros_like(batch.targets))


@bug(
    "held-out rule",
    "held-out targets are reversed, those of training are not",
    r"held.?out.*(rule|target|differ)",
    r"different (rule|target)",
    r"inconsisten",
    r"train.*differ",
)
class OtherRule(Own):
    def held_out(self, samples):
        batch = super().held_out(samples)
        return Batch(batch.tokens, batch.targets[..., ::-1].copy())


@bug(
    "stateful draws",
    "draws depend on what was drawn before",
    r"state",
    r"drawn before",
    r"pure",
    r"determin",
    r"(twice|again).*differ",
    r"differ.*(call|again)",
)
class Stateful(Own):
    def __init__(self, config):
        super().__init__(config)
        self.rng = np.random.default_rng(0)

    def draw(self, seed, first_step, steps, batch_size):
        return self._made(self.rng, steps, batch_size)


@bug(
    "input length wrong",
    "the samples are shorter than the declared input length",
    r"length",
    r"short",
)
class ShortInput(Own):
    def _batch(self, sequences):
        batch = super()._batch(sequences)
        return Batch(batch.tokens[..., :-1], batch.targets[..., :-1])
