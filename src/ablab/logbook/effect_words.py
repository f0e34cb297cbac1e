"""Comparisons and trends as sentences of an entry, with short names of settings."""

import math
from dataclasses import replace

from ablab.experiments.short_names import setting_name, short_keys
from ablab.read.effects import (
    Comparison,
    Effects,
    Interaction,
    best_values_sentence,
    comparison_sentence,
    interaction_sentence,
)
from ablab.read.effects.trends import trend_sentence
from ablab.read.measure_words import measure_words

_NAMED = 3  # so many settings are named


def comparison_in_words(each: Comparison, effects: Effects) -> str:
    """A comparison as a sentence, with the measure and the setting's values in words."""
    text = comparison_sentence(each, measure_words(effects.measure))
    name, alone = short_keys(list(effects.base))[each.key], len(effects.base) == 1
    one, other = (setting_name(name, value, alone) for value in (each.value, each.reference))
    text = text.replace(f"{each.key}={each.value} vs {each.reference}", f"{one} vs {other}", 1)
    return text if each.cells < 2 else _with_interactions(text, each.key, effects)


def _with_interactions(text: str, key: str, effects: Effects) -> str:
    """A sentence on an average over other settings, with those on which the difference depends."""
    pairs = [{each.key, each.other} for each in effects.interactions if each.exists]
    others = [other for pair in pairs if key in pair for other in pair - {key}]
    if not others:
        return text
    names = short_keys([*effects.base, *others])
    *first, last = [names[other] for other in others]
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"{text.removesuffix('.')}; how much, or which way, depends on {listed}."


def interaction_in_words(each: Interaction, effects: Effects, measure: str) -> str:
    """An interaction as a sentence, with short names of the settings."""
    names = short_keys([*effects.base, each.key, each.other])
    contrasts = [
        replace(found, key=names[found.key], other=names[found.other]) for found in each.contrasts
    ]
    named = replace(each, key=names[each.key], other=names[each.other], contrasts=tuple(contrasts))
    return interaction_sentence(named, measure)


def trends_in_words(effects: Effects, measure: str, *, shown: bool) -> list[str]:
    """Where each setting with many values is best, as a sentence.

    A setting that is shown to depend on another one has no such value on the whole: its best values
    at each value of the other one take the place of the trend.

    Args:
        effects: The effects, with their trends.
        measure: The subject of the sentence.
        shown: Whether to tell of the trends that are shown, or of those that are not.
    """
    names = short_keys([*effects.base, *(each.key for each in effects.trends)])
    depends = {each.key: each for each in effects.best_values}
    sentences = []
    for each in effects.trends:
        if each.key in depends and not shown:
            sentences.append(best_values_sentence(depends[each.key], measure, names))
        elif each.key not in depends and each.exists is shown:
            sentences.append(trend_sentence(replace(each, key=names[each.key]), measure))
    return sentences


def undecided_in_words(effects: Effects) -> list[str]:
    """The settings of which no comparison, trend, relation or interaction is decided."""
    told = {each.key for each in effects.trends} | {each.key for each in effects.best_values}
    told |= {each.key for each in effects.scalings if each.best is not None and each.best.holds}
    for pair in effects.interactions:
        told |= {pair.key, pair.other} if pair.exists else set()
    tested = dict.fromkeys(each.key for each in effects.factorial)
    decided = {each.key for each in effects.factorial if each.verdict != "undecided"}
    names = short_keys(list(effects.base))
    left = [names[key] for key in tested if key not in told | decided]
    if not left:
        return []
    if len(left) > _NAMED:
        return [f"Not decided: whether {len(left)} further settings make a difference."]
    listed = " or ".join(filter(None, [", ".join(left[:-1]), left[-1]]))
    return [f"Not decided: whether {listed} makes a difference."]


def size_of_difference(each: Comparison) -> float:
    """The size of a difference, on its scale."""
    difference = each.difference or 0.0
    if each.scale == "ratio":
        return abs(math.log(difference)) if difference > 0 else 0.0
    return abs(difference)
