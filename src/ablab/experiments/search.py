"""The settings that tuning tries: a Sobol sequence, random points, or Optuna's sampler.

What is tried next follows from what was tried and how good it was, so a command that was killed
asks for the same settings again. The draws are digests of the name of the experiment, as those of
sweeps are.
"""

import hashlib
import importlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.sweep_values import (
    Number,
    at_share,
    rounded,
    sobol_rows,
    uniform_shares,
)
from ablab.experiments.tuning import TunedRange, Tuning

Settings = dict[str, Number]
"""The value of each tuned setting, by key."""

FIRST, BATCH = 8, 4
"""Optuna begins with FIRST points of a Sobol sequence, and then proposes BATCH at a time."""


def next_trials(
    tuning: Tuning, name: str, variant: str, tried: Sequence[tuple[Settings, float]]
) -> list[Settings]:
    """The settings to try next for a variant; none if enough were tried.

    A Sobol sequence and random points are the same for all variants, and more trials include those
    of fewer. With Optuna, the first ones are the same for all variants.

    Args:
        tuning: How the experiment is tuned.
        name: The name of the experiment, from which settings are drawn.
        variant: The label of the variant, likewise for Optuna.
        tried: The settings that were tried, in order, with their scores: lower ones are better, and
            infinite ones have no value.

    Raises:
        InputError: Optuna is needed and is not installed.
    """
    left = tuning.trials - len(tried)
    if left <= 0:
        return []
    if tuning.search == "random":
        return _random(tuning, name)[len(tried) :]
    if tuning.search == "sobol":
        return _sobol(tuning, name, tuning.trials)[len(tried) :]
    first = min(FIRST, math.ceil(tuning.trials / 2))
    if len(tried) < first:
        return _sobol(tuning, name, first)[len(tried) :]
    return _optuna(tuning, _seed(name, variant, len(tried)), tried, min(BATCH, left))


def planned_trials(tuning: Tuning, name: str) -> list[Settings]:
    """As many settings as a variant will be tried with; those of Optuna are not known before."""
    return (
        _random(tuning, name) if tuning.search == "random" else _sobol(tuning, name, tuning.trials)
    )


def check_search(tuning: Tuning) -> None:
    """Checks that what a search needs is installed.

    Raises:
        InputError: Optuna is needed and is not installed.
    """
    if tuning.search == "optuna":
        _load_optuna()


def _random(tuning: Tuning, name: str) -> list[Settings]:
    """Random points."""
    columns = {
        key: [
            at_share(each.bounds, share, each.whole)
            for _, share in zip(
                range(tuning.trials), uniform_shares(name, f"tune {key}"), strict=False
            )
        ]
        for key, each in tuning.over.items()
    }
    return [{key: column[n] for key, column in columns.items()} for n in range(tuning.trials)]


def _sobol(tuning: Tuning, name: str, count: int) -> list[Settings]:
    """The first points of a Sobol sequence."""
    bounds = {f"tune {key}": each.bounds for key, each in tuning.over.items()}
    whole = {f"tune {key}": each.whole for key, each in tuning.over.items()}
    rows = sobol_rows(count, bounds, name, lambda key: whole[key])
    return [{key.removeprefix("tune "): value for key, value in row.items()} for row in rows]


def _seed(*parts: Any) -> int:
    """A seed of 32 bits from some texts and numbers."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4], "big")


def _load_optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise InputError(
            Problem(
                "tune.search: optuna needs a package that is not installed", "tune.search",
                given="optuna", expected="pip install 'ablab[tune]', or search: sobol",
            )
        ) from error  # fmt: skip


def _optuna(
    tuning: Tuning, seed: int, tried: Sequence[tuple[Settings, float]], count: int
) -> list[Settings]:
    """Proposals of Optuna's tree-structured Parzen estimator (Bergstra et al., 2011).

    A study is made anew from what was tried, so its proposals do not depend on the process that
    asks. Those of one batch avoid each other (Optuna's constant liar).
    """
    optuna = _load_optuna()
    space = {key: _distribution(optuna, each) for key, each in tuning.over.items()}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True
            )
            study = optuna.create_study(sampler=sampler, direction="minimize")
            for settings, score in tried:
                study.add_trial(
                    optuna.trial.create_trial(params=settings, distributions=space, value=score)
                )
            asked = [study.ask(space).params for _ in range(count)]
    finally:
        optuna.logging.set_verbosity(verbosity)
    return [_rounded(tuning.over, each) for each in asked]


def _distribution(optuna: Any, each: TunedRange) -> Any:
    low, high = each.bounds.low, each.bounds.high
    if each.whole:
        low, high = math.ceil(low), math.floor(high)
        return optuna.distributions.IntDistribution(low, high, log=each.bounds.is_logarithmic)
    return optuna.distributions.FloatDistribution(low, high, log=each.bounds.is_logarithmic)


def _rounded(over: Mapping[str, TunedRange], settings: Mapping[str, Number]) -> Settings:
    """Settings with few digits, within their ranges."""
    found: Settings = {}
    for key, each in over.items():
        value = settings[key]
        low, high = each.bounds.low, each.bounds.high
        found[key] = int(value) if each.whole else min(max(rounded(float(value)), low), high)
    return found
