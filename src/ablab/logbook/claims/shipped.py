"""The results that ablab ships for the claims of logbooks, for those who have no store yet."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ablab import __version__
from ablab.config.files import write_text_atomically
from ablab.logbook.claims.of_recipes import OPEN, RecipeClaims, count_states
from ablab.read.family import Family

_FILE = "claims.json"


@dataclass(frozen=True)
class ShippedClaims:
    """Claims with results of an earlier day.

    Attributes:
        made: The day on which they were compared with results, as YYYY-MM-DD.
        version: The version of ablab that compared them.
        recipes: The recipes with their claims, as :meth:`RecipeClaims.as_data` has them.
        logbooks: What is said of all claims of a logbook, by its name.
    """

    made: str
    version: str
    recipes: list[dict[str, Any]]
    logbooks: dict[str, dict[str, Any]]

    @property
    def tally(self) -> str:
        """The number of claims and of each outcome, as text."""
        return count_states(claim["state"] for each in self.recipes for claim in each["claims"])


def open_shipped(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The states of shipped claims that failed or were not run, by recipe and claim."""
    return {
        each["recipe"]: {
            claim["sentence"]: claim["state"] for claim in each["claims"] if claim["state"] in OPEN
        }
        for each in shipped_claims(names).recipes
    }


def as_data(found: Sequence[RecipeClaims], families: dict[str, Family]) -> dict[str, Any]:
    """Claims with what is said of all claims of each logbook, as plain data."""
    return {
        "logbooks": {
            name: {
                "tested": each.tested,
                "decided": each.decided,
                "by_chance": each.by_chance,
                "decided_after_correction": each.remaining,
                "sentence": each.sentence("claim"),
            }
            for name, each in families.items()
        },
        "recipes": [each.as_data() for each in found],
    }


def write_shipped(found: Sequence[RecipeClaims], families: dict[str, Family], path: Path) -> None:
    """Writes what :func:`shipped_claims` reads.

    Args:
        found: The claims of all recipes, corrected.
        families: The families of their logbooks.
        path: ``src/ablab/recipes/claims.json`` of the source tree.

    Raises:
        WriteError: The file cannot be written.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    data = {"made": today, "version": __version__, **as_data(found, families)}
    write_text_atomically(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def shipped_claims(names: Sequence[str]) -> ShippedClaims:
    """The shipped results of recipes.

    Args:
        names: The names of recipes; those without shipped results are left out.
    """
    file = resources.files("ablab").joinpath("recipes").joinpath(_FILE)
    data = json.loads(file.read_text(encoding="utf-8"))
    recipes = [each for each in data["recipes"] if each["recipe"] in names]
    shown = {each["logbook"] for each in recipes}
    # What is said of a logbook is about all of its claims.
    whole = {
        name
        for name in shown
        if all(each["recipe"] in names for each in data["recipes"] if each["logbook"] == name)
    }
    logbooks = {name: own for name, own in data["logbooks"].items() if name in whole}
    return ShippedClaims(data["made"], data["version"], recipes, logbooks)
