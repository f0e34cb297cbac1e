"""Measures and columns in words, for sentences, headings and axes."""

import math
import re

from ablab.experiments.levels import Level
from ablab.experiments.measures import COUNTED, FUNCTIONS, Measure, parse_measure
from ablab.read.measured import shown

_COLUMNS = {"train_loss": "training loss", "lr": "learning rate", "grad_norm": "gradient norm"}
_LOGARITHM = re.compile(r"log\((\d+(?:\.\d+)?)\)")
_FORMS = {  # of the column, then the numbers
    "at": "{0} at step {1}",
    "diverged": "share of diverged runs",
    "floor": "level at which the {0} ends",
    "growbacks": "number of growbacks of the {0}",
    "lag": "steps from the training loss to the {0} reaching {1}",
    "lead": "steps by which the {0} changes before the {other}",
    "leaves": "step at which the {0} leaves {1}",
    "mean": "mean {0} from step {1} to {2}",
    "n_params": "number of parameters",
    "noise": "noise of the {0}",
    "plateaus": "number of plateaus of the {0}",
    "seconds": "training time in seconds",
    "slowdowns": "number of slowdowns of the {0}",
    "spikes": "number of spikes of the {0}",
    "steps_to": "step at which the {0} reaches {1}",
    "transition": "step of the transition of the {0}",
}


def column_words(column: str) -> str:
    """A column in words: ``held-out loss``; the name itself for a statistic.

    ``eval_loss/digit_0`` is ``held-out loss, digit_0``.
    """
    if column in _COLUMNS:
        return _COLUMNS[column]
    name, _, part = column.partition("/")
    if name.startswith("eval_"):
        words = "held-out " + name.removeprefix("eval_").replace("_", " ")
        return f"{words}, {part}" if part else words
    return column


def measure_words(measure: Measure | str) -> str:
    """A measure as a noun phrase: ``step at which the training loss leaves log 10``."""
    found = parse_measure(measure) if isinstance(measure, str) else measure
    column = column_words(found.column)
    numbers = _numbers(found)
    if found.function in COUNTED and numbers:
        of_values = "LOW" in FUNCTIONS[found.function]
        first, last = ("between", "and") if of_values else ("from step", "to")
        counted = _FORMS[found.function].format(column)
        return f"{counted} {first} {numbers[0]} {last} {numbers[1]}"
    form = _FORMS.get(found.function, found.function + " {0}")
    return form.format(column, *numbers, other=column_words(found.other or ""))


def _numbers(measure: Measure) -> list[str]:
    """The numeric arguments, with logarithms as they were written: ``log 10``."""
    arguments = measure.text.partition("(")[2].rpartition(")")[0].split(",")
    logarithms = {
        math.log(float(found[1])): f"log {found[1]}"
        for found in map(_LOGARITHM.fullmatch, map(str.strip, arguments))
        if found
    }
    levels = measure.levels or (None,) * len(measure.numbers)
    return [
        logarithms.get(number, shown(number)) if level is None else _level_words(level)
        for number, level in zip(measure.numbers, levels, strict=True)
    ]


def _level_words(level: Level) -> str:
    """A level that depends on a setting: ``log task.p``."""
    return f"log {level.setting}" if level.logarithm else level.setting
