"""What it would cost to decide claims at a larger size: core-hours, from the plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablab.config import InputError
from ablab.execute.options import Options
from ablab.execute.planned import PlannedExperiment, plan_experiment
from ablab.experiments.cell_text import cell_text, in_cell
from ablab.experiments.expectations import Expectation
from ablab.experiments.source import read_source
from ablab.logbook.claims.of_recipes import OPEN, RecipeClaims, runnable
from ablab.read.judgements import compared_cells


@dataclass(frozen=True)
class Price:
    """What it costs to train the runs that a claim is about.

    Attributes:
        recipe: The recipe.
        claim: The claim.
        state: What became of it at the usual size.
        cells: The cells that it is about, as ``ablab run --where`` takes them; empty for all.
        runs: How many of its runs are left to train.
        run_steps: Their steps.
        hours: Estimated core-hours.
        together: Core-hours of this claim and of all cheaper ones; runs that they share count once.
        command: The command that trains them.
    """

    recipe: str
    claim: str
    state: str
    cells: tuple[str, ...]
    runs: int
    run_steps: int
    hours: float
    together: float
    command: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """The price as plain data."""
        return vars(self) | {"cells": list(self.cells), "command": list(self.command)}


@dataclass(frozen=True)
class Prices:
    """The prices of claims.

    Attributes:
        prices: The prices, the lowest first.
        lacking: Why a recipe has no prices, by its name.
    """

    prices: tuple[Price, ...]
    lacking: Mapping[str, str]

    @property
    def hours(self) -> float:
        """Core-hours of all of them; runs that they share count once."""
        return self.prices[-1].together if self.prices else 0.0


def open_claims(found: Mapping[str, RecipeClaims]) -> dict[str, dict[str, str]]:
    """The states of claims that failed or were not run, by recipe and claim as a sentence."""
    return {
        name: {
            claim.expectation.sentence: claim.state for claim in each.claims if claim.state in OPEN
        }
        for name, each in found.items()
    }


def claim_prices(
    wanted: Mapping[str, Mapping[str, str]], size: str, store: str | Path, options: Options
) -> Prices:
    """The prices of claims at a size, from the plans of their recipes; trains nothing.

    Claims about cells that the size does not have are left out.
    What the store has is not counted. Where runs of several claims train in one stack, its time is
    divided among its runs.

    Args:
        wanted: The states of the claims to price, by recipe and by the claim as a sentence.
        size: The size. Recipes that do not have it are left out.
        store: The folder of the store, which need not exist.
        options: How they would be trained.

    Raises:
        InputError: An option is invalid.
    """
    found: list[tuple[Price, dict[tuple[str, str], float]]] = []
    lacking: dict[str, str] = {}
    for name, states in wanted.items():
        if not states or size not in (read_source(name)[0].get("sizes") or {}):
            continue
        try:
            asked = runnable(name, size)
        except InputError as error:
            lacking[name] = "; ".join(problem.message for problem in error.problems)
            continue
        plan = plan_experiment(asked, store, options)
        seconds = _seconds_by_run(plan)
        for each in asked.expectations:
            state = states.get(each.sentence)
            price = None if state is None else _price(name, size, each, state, plan, seconds)
            if price is not None:
                found.append(price)
    return Prices(tuple(_together(found)), lacking)


def _seconds_by_run(plan: PlannedExperiment) -> dict[str, float]:
    """Core-seconds of each run that is left: its share of its stack."""
    seconds: dict[str, float] = {}
    for stack in plan.plan.stacks:
        left = [run.id for run in stack.runs if run.id in plan.left]
        steps = sum(plan.left[run] for run in left)
        for run in left:
            share = plan.left[run] / steps
            seconds[run] = stack.seconds * plan.plan.threads * share
    return seconds


def _price(
    name: str,
    size: str,
    expectation: Expectation,
    state: str,
    plan: PlannedExperiment,
    seconds: Mapping[str, float],
) -> tuple[Price, dict[tuple[str, str], float]] | None:
    """A claim's price by itself and the core-seconds of its runs; None if the size lacks a cell."""
    cells = compared_cells(expectation)
    keys = [variant.keys for variant in plan.experiment.variants]
    found = [in_cell(keys, cell) for cell in cells]
    if not all(any(flags) for flags in found):
        return None
    inside = [any(flags) for flags in zip(*found, strict=True)]
    runs = {
        run.id
        for variant, is_inside in zip(plan.experiment.variants, inside, strict=True)
        if is_inside
        for run in variant.runs
    }
    own = {(name, run): seconds[run] for run in seconds if run in runs}
    texts = tuple(cell_text(cell) for cell in cells if cell)
    texts = () if all(inside) else texts
    where = [part for text in texts for part in ("--where", text)]
    command = ("ablab", "run", name, f"size={size}", *where)
    hours = sum(own.values()) / 3600
    steps = sum(plan.left[run] for _, run in own)
    price = Price(name, expectation.text, state, texts, len(own), steps, hours, hours, command)
    return price, own


def _together(found: Sequence[tuple[Price, dict[tuple[str, str], float]]]) -> list[Price]:
    """The prices, the lowest first, each with those before it."""
    counted: dict[tuple[str, str], float] = {}
    prices = []
    for price, own in sorted(found, key=lambda each: (each[0].hours, each[0].recipe)):
        counted |= own
        together = sum(counted.values()) / 3600
        prices.append(Price(**vars(price) | {"together": together}))
    return prices
