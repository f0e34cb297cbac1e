"""What analyses declare of their scalars, as it is recorded in a store.

Reading takes it from here, without importing an analysis.
"""

import json
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from pydantic import ConfigDict, Field

from ablab.config import Config
from ablab.store.index import Index
from ablab.tasks.config import Direction, Limits

T = TypeVar("T")
_PREFIX = "analysis/"


class ScalarRecord(Config):
    """What an analysis declares of its scalars."""

    model_config = ConfigDict(extra="ignore")  # the rest is for pages

    directions: dict[str, Direction] = Field(default_factory=dict)
    """Which values of a scalar are better, by its name or a pattern; the first match counts."""
    limits: dict[str, Limits] = Field(default_factory=dict)
    """The least and the greatest value of a scalar, in the same way; None where there is no end."""


class ScalarRecords(dict[str, ScalarRecord]):
    """What is recorded of the scalars of a store's analyses, by the name of the findings."""

    def direction_of(self, column: str) -> Direction | None:
        """Which values of a column ``analysis/NAME/WHAT`` are better; None if not declared."""
        record, what = self._record_of(column)
        return None if record is None else first_match(record.directions, what)

    def limits_of(self, column: str) -> Limits | None:
        """The range of a column ``analysis/NAME/WHAT``; None if it is not declared."""
        record, what = self._record_of(column)
        return None if record is None else first_match(record.limits, what)

    def _record_of(self, column: str) -> tuple[ScalarRecord | None, str]:
        name, _, what = column.removeprefix(_PREFIX).partition("/")
        return (self.get(name) if column.startswith(_PREFIX) else None), what


def scalar_records(index: Index) -> ScalarRecords:
    """What is recorded of the scalars of all analyses.

    A damaged record is left out, with a warning: its scalars have no ranges and no directions.
    """
    found = ScalarRecords()
    for row in index.rows("SELECT name, about FROM analyses"):
        try:
            found[row["name"]] = ScalarRecord.model_validate(json.loads(row["about"]))
        except ValueError:
            warnings.warn(
                f"the record of the analysis {row['name']!r} is damaged, so the ranges and "
                "directions of its scalars are not known; ablab analyze writes it again",
                stacklevel=2,
            )
    return found


def first_match(declared: Mapping[str, T], what: str) -> T | None:
    """What is declared for the first name or pattern that a scalar matches; None if none does."""
    return next((each for pattern, each in declared.items() if fnmatchcase(what, pattern)), None)
