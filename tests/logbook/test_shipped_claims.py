"""The results that ablab ships belong to the expectations that its recipes have now.

After a change of a recipe's expectations, CONTRIBUTING.md says how to write them again.
"""

import pytest

from ablab.logbook.claims.of_recipes import chosen, claims_of
from ablab.logbook.claims.shipped import shipped_claims


def test_every_recipe_with_claims_is_shipped():
    assert {each["recipe"] for each in shipped_claims(chosen(())).recipes} == set(chosen(()))


@pytest.mark.parametrize("name", chosen(()))
def test_shipped_claims_are_those_of_the_recipes(name):
    (recipe,) = shipped_claims([name]).recipes
    asked = claims_of([], name, None)
    names = ("claim", "figure", "source", "sentence")
    assert [tuple(claim[each] for each in names) for claim in recipe["claims"]] == [
        (each.text, each.figure, each.source, each.sentence) for each in asked.asked.expectations
    ]
    assert (recipe["logbook"], recipe["question"], recipe["size"], recipe["about"]) == (
        asked.logbook, asked.question, asked.size, asked.about,
    )  # fmt: skip
