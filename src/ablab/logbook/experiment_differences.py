"""What experiments say together: a difference between them, or why none is tested."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from ablab.config import InputError, counted
from ablab.experiments.measures import parse_measure
from ablab.experiments.short_names import short_keys
from ablab.logbook.comparison import setting_text
from ablab.logbook.effect_words import comparison_in_words
from ablab.read.effects import Effects, effects
from ablab.read.effects.stored import better_values
from ablab.read.guessing import guessing_loss
from ablab.read.measures import ENDED
from ablab.read.side_by_side import JointVariant, SideBySide
from ablab.store.metrics import key_column

_LISTED = 6  # so many settings are named in a sentence


def difference_sentences(
    found: SideBySide, measure: str, frames: Sequence[pl.DataFrame | None]
) -> list[str]:
    """The differences between experiments with their intervals, or why none is tested.

    Experiments are compared where each has a variant that differs from those of the others only in
    settings that have one value in each experiment. If they differ in a single setting, and nothing
    else varies, its values are compared.

    Args:
        found: The experiments.
        measure: The measure.
        frames: The measure of each run by experiment, as
            :func:`ablab.read.measures.measure_table` gives it; None where it was not logged.
    """
    said = _shared(found)
    why = _why_untested(found, measure, frames)
    if why:
        return [*said, why]
    known = [frame for frame in frames if frame is not None]
    if len(found.within) == 1 and not found.between:
        key = found.within[0]
        cells = [[each.settings.get(key), ""] for each in found.variants]
        return said + _tested(found, measure, known, key, found.variants, cells)
    matched = _matched(found)
    if not found.between or not matched:
        return [*said, _unmatched(found)]
    if len(found.between) == 1 and _distinct(found, found.between[0]):
        key = found.between[0]
    else:
        key = "experiment"
    variants = [variant for group in matched for variant in group]
    cells = [[_side(found, key, each), place]
             for place, group in enumerate(matched) for each in group]  # fmt: skip
    return [
        *said,
        _meaning(found, matched),
        *_tested(found, measure, known, key, variants, cells),
    ]


def _why_untested(found: SideBySide, measure: str, frames: Sequence[pl.DataFrame | None]) -> str:
    """Why no difference can be tested; empty if one can."""
    of_tasks = [key for key in found.between if key.startswith("task.")]
    if of_tasks:
        told = "; ".join(_value_pair(found, key) for key in of_tasks)
        more = "Losses of different tasks are not comparable, so no difference is tested."
        return f"The tasks differ ({told}). {more}"
    if not found.between and not found.within:
        return "All settings are equal, so there is no difference to test."
    if not found.between and len(found.within) == 1 and found.within[0].startswith("task."):
        return "Only the task differs; losses of different tasks are not comparable."
    unfinished = [
        member.name
        for member in found.members
        if any(run.status not in ENDED for run in member.runs)
    ]
    if unfinished:
        return f"No difference is tested while runs of {_listed(unfinished)} are missing."
    if any(frame is None for frame in frames):
        return f"No difference is tested: {measure} was not logged in all experiments."
    return ""


def _shared(found: SideBySide) -> list[str]:
    """That some runs belong to several of the experiments; empty if none does."""
    shared = found.shared_runs
    if not shared:
        return []
    verb = "belongs" if shared == 1 else "belong"
    return [f"{counted(shared, 'run')} {verb} to more than one of the experiments."]


def _matched(found: SideBySide) -> list[list[JointVariant]]:
    """Variants of all experiments that are equal in what varies within experiments."""

    def at(variant: JointVariant) -> tuple[str, ...]:
        return tuple(repr(variant.settings.get(key)) for key in found.within)

    own = [{at(each): each for each in found.of(place)} for place in range(len(found.members))]
    return [[each[place] for each in own] for place in own[0] if all(place in each for each in own)]


def _unmatched(found: SideBySide) -> str:
    """Why no difference between the experiments is tested."""
    if not found.between:
        return (
            "The experiments differ only in the values of their grids, so there is no difference "
            "between them to test beyond the table."
        )
    return (
        "No difference is tested: no variant is in all experiments with equal settings, except for "
        f"{_keys(found.between)}."
    )


def _meaning(found: SideBySide, matched: Sequence[Sequence[JointVariant]]) -> str:
    """What the tested difference is a difference of."""
    pairs = "; ".join(_value_pair(found, key) for key in found.between[:_LISTED])
    rest = len(found.between) - _LISTED
    more = f"; and {counted(rest, 'further setting')}" if rest > 0 else ""
    count = counted(len(matched), "variant")
    of_all = f"{count} in each experiment {'is' if len(matched) == 1 else 'are'} otherwise equal"
    if len(found.between) == 1:
        return f"The experiments differ in one setting ({pairs}{more}); {of_all}."
    return (
        f"The experiments differ in {len(found.between)} settings together ({pairs}{more}), whose "
        f"effects cannot be told apart; {of_all}."
    )


def _tested(
    found: SideBySide,
    measure: str,
    frames: Sequence[pl.DataFrame],
    key: str,
    variants: Sequence[JointVariant],
    cells: Sequence[Sequence[Any]],
) -> list[str]:
    """The comparisons of an axis, averaged over the variants on the other one."""
    made = _effects(found, measure, frames, key, variants, cells)
    if made is None:
        return [f"No difference is tested: no run has a value of {measure}."]
    sentences = [comparison_in_words(each, made) for each in made.factorial]
    if len(sentences) > 1:
        sentences.append(
            "Intervals are for single comparisons; p-values are corrected for their number (Holm's "
            "method)."
        )
    return [*sentences, *made.notes()]


def _effects(
    found: SideBySide,
    measure: str,
    frames: Sequence[pl.DataFrame],
    key: str,
    variants: Sequence[JointVariant],
    cells: Sequence[Sequence[Any]],
) -> Effects | None:
    """The effects of an axis; None if no run has a value."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for variant, (side, other) in zip(variants, cells, strict=True):
        runs = [run.run for run in variant.runs]
        for row in frames[variant.member].filter(pl.col("run").is_in(runs)).to_dicts():
            # A run of several experiments counts once on each side.
            rows.setdefault((repr(side), other, row["seed"]), row | {"_side": side, "_at": other})
    every = list(rows.values())
    if not any(row["value"] is not None or row["not_before"] is not None for row in every):
        return None
    named = {key: key_column([row["_side"] for row in every])}
    keys = [key]
    if len({row["_at"] for row in every}) > 1:
        named["variant"] = key_column([row["_at"] for row in every])
        keys.append("variant")
    columns = ("seed", "value", "not_before", "reason", "status")
    types = {"value": pl.Float64, "not_before": pl.Int64, "reason": pl.String}
    frame = pl.DataFrame(
        named
        | {name: pl.Series([row[name] for row in every], dtype=types.get(name)) for name in columns}
    )
    record = found.members[0].record
    try:
        return effects(
            frame,
            keys,
            of=key,
            measure=measure,
            better=better_values(record, measure),
            guessing=guessing_loss(record, parse_measure(measure)),
        )
    except InputError:  # nothing to compare
        return None


def _side(found: SideBySide, key: str, variant: JointVariant) -> Any:
    return found.members[variant.member].name if key == "experiment" else variant.settings.get(key)


def _distinct(found: SideBySide, key: str) -> bool:
    """Whether each experiment has another value of a setting."""
    values = [repr(found.of(place)[0].settings.get(key)) for place in range(len(found.members))]
    return len(set(values)) == len(values)


def _value_pair(found: SideBySide, key: str) -> str:
    """A setting with its value in each experiment: ``lr 0.01 vs 0.001``."""
    values = [
        setting_text(settings[key]) if key in (settings := found.of(place)[0].settings) else "unset"
        for place in range(len(found.members))
    ]
    return f"{short_keys([*found.between, *found.within])[key]} {' vs '.join(values)}"


def _keys(keys: Sequence[str]) -> str:
    more = len(keys) - _LISTED
    names = list(keys)[:_LISTED]
    return _listed([*names, f"{more} more"] if more > 0 else names)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
