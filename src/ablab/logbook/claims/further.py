"""Verdicts on claims by more evidence than the usual size has: added seeds, or a larger size."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablab.experiments.outline import trained_digest
from ablab.experiments.sizes import QUICK
from ablab.experiments.source import read_source
from ablab.logbook.claims.of_recipes import OPEN, RecipeClaims, claims_of
from ablab.store.store import Store

_UNSETTLED = (*OPEN, "undecided", "not tested")


def with_further(stores: Sequence[Store], name: str, usual: RecipeClaims) -> RecipeClaims:
    """The claims of a recipe with what other runs in the stores say of those that are open.

    A claim counts for which all runs of its cells have ended: cells may have been trained by
    ``ablab run RECIPE size=full --where CELL``, seeds added by ``ablab settle RECIPE``.

    Args:
        stores: The stores to search.
        name: The recipe, or a YAML file.
        usual: Its claims at the usual size. Those of another size, or by added seeds, are returned
            as they are.

    Raises:
        InputError: The expectations of another size are invalid.
    """
    sizes = read_source(name)[0].get("sizes") or {}
    if usual.size not in (None, QUICK) or usual.seeds_added:
        return usual
    others = [
        *(claims_of(stores, name, usual.size, seeds=each) for each in _added(stores, usual)),
        *(claims_of(stores, name, size) for size in sizes if size != usual.size),
    ]
    found = (_about_open(usual, each) for each in others)
    return replace(usual, further=tuple(each for each in found if each.claims))


def _added(stores: Sequence[Store], usual: RecipeClaims) -> list[dict[str, Any]]:
    """How seeds were added to the same experiment, with the most seeds first."""
    wanted = _without_seeds(usual.asked.definition)
    found = {
        json.dumps(record.definition["seeds"]): record.definition["seeds"]
        for store in stores
        for record in store.experiments()
        if isinstance(record.definition.get("seeds"), Mapping)
        and _without_seeds(record.definition) == wanted
    }
    return sorted(found.values(), key=lambda each: -each["to"])


def _without_seeds(definition: Mapping[str, Any]) -> str:
    return trained_digest({key: each for key, each in definition.items() if key != "seeds"})


def _about_open(usual: RecipeClaims, other: RecipeClaims) -> RecipeClaims:
    """Other claims of a recipe, without those that are decided as usual or not complete.

    With added seeds, a claim that is settled stays so while runs of further seeds have not ended.
    """
    states = {each.expectation.sentence: each.state for each in usual.claims}
    claims = [
        claim
        for claim in other.claims
        if claim.verdict is not None
        and (claim.complete or (other.seeds_added and claim.verdict.outcome != "undecided"))
        and states.get(claim.expectation.sentence) in _UNSETTLED
    ]
    return replace(other, claims=tuple(claims))
