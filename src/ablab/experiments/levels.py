"""Levels that depend on a setting, such as ``log(task.p)``: the same claim at every size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lark import Tree

from ablab.config import InputError, Problem, nearest
from ablab.experiments.grammar import parse
from ablab.experiments.parts import PARTS
from ablab.experiments.setting_keys import has_key
from ablab.experiments.tree import leaves
from ablab.experiments.whole_numbers import class_of_kind

_PREFIXES = tuple(f"{part}." for part in PARTS if part != "watch")
"""How the name of a setting that can be a level begins, which no column of the metrics does."""


@dataclass(frozen=True)
class Level:
    """A number that is a setting of each run, or its natural logarithm.

    Attributes:
        setting: The setting, such as ``task.p``.
        logarithm: Whether the number is its logarithm.
    """

    setting: str
    logarithm: bool = False

    def __str__(self) -> str:
        return f"log({self.setting})" if self.logarithm else self.setting

    def value(self, settings: Mapping[str, Any], source: str | None = None) -> float:
        """The number for one run.

        Args:
            settings: The settings of the run, as nested mappings.
            source: Where the level was written, for errors.

        Raises:
            InputError: There is no such setting, it is not a number, or it has no logarithm.
        """
        known = {".".join(path): value for path, value in leaves(settings)}
        if self.setting not in known:
            raise self._not_known(settings, known, source)
        found = known[self.setting]
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise InputError(
                Problem(
                    f"{self.setting} is {found!r}, which is not a number",
                    source=source,
                    given=str(self),
                    expected="a setting that is a number",
                )
            )
        if not self.logarithm:
            return float(found)
        if found <= 0:
            raise InputError(
                Problem(
                    f"{self} has no value, since {self.setting} is {found}",
                    source=source,
                    expected="the logarithm of a positive number",
                )
            )
        return math.log(found)

    def _not_known(
        self, settings: Mapping[str, Any], known: Mapping[str, Any], source: str | None
    ) -> InputError:
        """The error of a setting that these runs do not have, or that does not identify them."""
        numbers = [
            name
            for name, value in known.items()
            if name.startswith(_PREFIXES)
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        ]
        examples = " or ".join(numbers[:2])
        such = f", such as {examples}" if examples else ""
        part, *path = self.setting.split(".")
        cls = class_of_kind(part, settings)
        if cls is not None and path and has_key(cls, tuple(path)):
            problem = f"{self.setting} is not one of the settings that identify these runs"
            expected = f"a setting that affects their training{such}; the number of steps does not"
            return InputError(Problem(problem, None, source, str(self), expected))
        problem = f"{self.setting} is not a setting of these runs"
        names = [name for name in known if name.startswith(_PREFIXES)]
        return InputError(
            Problem(
                problem, None, source, str(self), f"a setting that is a number{such}",
                nearest(self.setting, names),
            )
        )  # fmt: skip


def level_of(tree: Any, source: str | None = None) -> Level | None:
    """The level for an argument or a bound in a parse tree; None if it is a number or a column.

    Raises:
        InputError: It is the logarithm of something that is not a setting.
    """
    if not isinstance(tree, Tree):
        return Level(str(tree)) if str(tree).startswith(_PREFIXES) else None
    if tree.data not in ("log_of", "setting_of"):
        return None
    name, logarithm = str(tree.children[0]), tree.data == "log_of"
    if name.startswith(_PREFIXES):
        return Level(name, logarithm)
    raise InputError(
        Problem(
            f"{name} is not a setting",
            source=source,
            given=f"log({name})" if logarithm else name,
            expected="a number or a setting such as task.p, model.d_model or train.lr",
        )
    )


def parse_level(text: str, source: str | None = None) -> Level:
    """Parses a level that depends on a setting, such as ``log(task.p)``.

    Raises:
        InputError: It is not one.
    """
    found = level_of(parse(text, "bound", "number", source), source)
    if found is None:
        expected = "a number without quotation marks, or a setting such as log(task.p)"
        raise InputError(Problem("this is text", source=source, given=text, expected=expected))
    return found
