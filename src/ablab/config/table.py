"""Tables as text that fits a width without losing anything, for terminals and files.

A cell is never cut. Words in columns of text are continued on the next line; all other cells (ids,
numbers, verdicts) stay in one piece. There are three layouts: a table; a table in which columns
that repeat are headings of groups of rows; and records, with one line for each column. The one with
the fewest lines among those that fit is used. Records always fit: there, a cell that is wider than
the line is continued on the next one.
"""

import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, groupby
from typing import TextIO

from rich.cells import cell_len, chop_cells

from ablab.config.wording import visible

FILE_WIDTH = 80  # of tables in files and pipes
_GAP = 2
_LEAST_TEXT = 12  # columns of text are not narrower, unless their texts are shorter
_GROUPS_COST, _RECORDS_COST = 1.2, 1.5  # of a line, as these layouts are harder to compare
_WORDS = re.compile(r"(\s*)(\S+)")
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?%?|[-+]?inf")


def output_width(stream: TextIO | None = None) -> int:
    """The width of a stream in columns: the value of ``COLUMNS`` if set, the terminal's, or 80.

    Args:
        stream: Standard output by default.
    """
    stream = stream or sys.stdout
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    with suppress(OSError, ValueError):  # not a terminal, or not a file
        return os.get_terminal_size(stream.fileno()).columns or FILE_WIDTH
    return FILE_WIDTH


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        text: The text.
        is_heading: Whether it is a header or the heading of a group.
    """

    text: str
    is_heading: bool = False


def table_lines(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    width: int,
    *,
    texts: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> list[Line]:
    """The lines of a table, in the layout that fits the width with the fewest lines.

    Args:
        header: The names of the columns.
        rows: The cells; None is an empty cell.
        width: The width in columns of a terminal.
        texts: The columns whose cells may be continued on the next line, between words.
        groups: Columns that may be headings of groups of rows instead, if the table does not fit.
    """
    cells = [[cell_text(cell) for cell in row] for row in rows]
    table = _Table(
        tuple(visible(name) for name in header), cells, frozenset(texts), frozenset(groups)
    )
    layouts = [(table.as_table(width), 1.0)]
    if groups and cells:
        layouts.append((table.as_groups(width), _GROUPS_COST))
    if cells:
        layouts.append((table.as_records(width), _RECORDS_COST))
    fitting = [((len(lines) + 1) * cost, lines) for lines, cost in layouts if lines is not None]
    return min(fitting, key=lambda each: each[0])[1] if fitting else []


def cell_text(value: object) -> str:
    """A cell as text: a float with five significant digits, nothing for None and NaN."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5g}"
    return visible(str(value))


def wrapped(text: str, width: int, hanging: int = 0) -> list[str]:
    """Text in lines that are at most ``width`` wide, broken between words.

    A word that is wider than a line is continued on the next one.

    Args:
        text: The text.
        width: The width of a line.
        hanging: The spaces before every line but the first.
    """
    indent = " " * min(hanging, width // 2)
    lines: list[str] = []
    line = ""
    for space, word in _WORDS.findall(text):
        longer = line + (space if line.strip() or not lines else "") + word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line.strip():
            lines.append(line)
            line = indent
        left = word
        while cell_len(line + left) > max(width, 2):
            part = chop_cells(left, max(width - cell_len(line), 2))[0]
            lines.append(line + part)
            line, left = indent, left[len(part) :]
        line += left
    return [*lines, line] if line.strip() or not lines else lines


@dataclass(frozen=True)
class _Table:
    header: tuple[str, ...]
    cells: list[list[str]]
    texts: frozenset[str]
    groups: frozenset[str]

    def as_table(self, width: int) -> list[Line] | None:
        """One row after another; None if that does not fit."""
        widths = self._widths(width)
        if widths is None:
            return None
        lines = [Line(text, True) for text in self._header_lines(widths)]
        for row in self.cells:
            lines += [Line(text) for text in self._row_lines(row, widths)]
        return lines

    def as_groups(self, width: int) -> list[Line] | None:
        """Headings with the rows that share them; None if that does not fit."""
        inner = [place for place, name in enumerate(self.header) if name not in self.groups]
        outer = [place for place, name in enumerate(self.header) if name in self.groups]
        rest = _Table(
            tuple(self.header[place] for place in inner),
            [[row[place] for place in inner] for row in self.cells],
            self.texts,
            frozenset(),
        )
        indent = " " * _GAP
        widths = rest._widths(width - _GAP)
        if widths is None:
            return None
        lines = [Line(indent + text, True) for text in rest._header_lines(widths)]
        numbers = range(len(self.cells))
        found = groupby(numbers, lambda number: [self.cells[number][place] for place in outer])
        shared = [(values, list(members)) for values, members in found]
        apart = 2 * len(shared) <= len(self.cells)  # headings of several rows stand out
        for values, members in shared:
            named = zip(outer, values, strict=True)
            heading = "; ".join(f"{self.header[p]}: {value}" for p, value in named if value)
            lines += [Line("")] if apart and len(lines) > 1 else []
            lines += [Line(text, True) for text in wrapped(heading, width, 2 * _GAP) if text]
            for number in members:
                row = rest.cells[number]
                lines += [Line(indent + text) for text in rest._row_lines(row, widths)]
        return lines

    def as_records(self, width: int) -> list[Line]:
        """A block of lines for each row, one or more for each column that is not empty.

        If all are empty, each has a line.
        """
        shown = [any(column) for column in zip(*self.cells, strict=True)]
        shown = shown if any(shown) else [True] * len(shown)
        names = max(cell_len(name) for name in self.header)
        left = max(width - names - _GAP, 1)
        lines: list[Line] = []
        for row in self.cells:
            lines += [Line("")] if lines else []
            for name, cell in compress(zip(self.header, row, strict=True), shown):
                parts = wrapped(cell, left) if name in self.texts else chop_cells(cell, left)
                parts = parts or [""]
                for number, part in enumerate(parts):
                    label = name if number == 0 else ""
                    lines.append(Line(f"{_padded(label, names)}{' ' * _GAP}{part}".rstrip()))
        return lines

    @cached_property
    def _numeric(self) -> list[bool]:
        """Which columns hold numbers only, and are aligned at the right; the first names a row."""
        columns = [[row[place] for row in self.cells if row[place]] for place in self._places]
        found = [bool(cells) and all(map(_NUMBER.fullmatch, cells)) for cells in columns]
        return [False, *found[1:]]

    @property
    def _places(self) -> range:
        return range(len(self.header))

    def _header_lines(self, widths: Sequence[int]) -> list[str]:
        """The header as one or more lines; names are at the bottom."""
        columns = [wrapped(name, width) for name, width in zip(self.header, widths, strict=True)]
        height = max(map(len, columns))
        return self._joined([[""] * (height - len(each)) + each for each in columns], widths)

    def _row_lines(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        """A row as one or more lines."""
        columns = [
            wrapped(cell, width) if name in self.texts else [cell]
            for name, cell, width in zip(self.header, row, widths, strict=True)
        ]
        height = max(map(len, columns))
        return self._joined([each + [""] * (height - len(each)) for each in columns], widths)

    def _joined(self, columns: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
        """Columns of equal height, next to each other."""
        lines = []
        for parts in zip(*columns, strict=True):
            padded = [
                _padded(part, width, numeric)
                for part, width, numeric in zip(parts, widths, self._numeric, strict=True)
            ]
            lines.append((" " * _GAP).join(padded).rstrip())
        return lines

    def _widths(self, width: int) -> list[int] | None:
        """The widths of the columns; None if they do not fit."""
        wanted, least = [], []
        for place, name in enumerate(self.header):
            words = [*name.split(), *(row[place] for row in self.cells)]
            full = max(map(cell_len, words), default=0)
            wanted.append(max(full, cell_len(name)))
            if name in self.texts:
                word = max((cell_len(word) for cell in words for word in cell.split()), default=0)
                full = min(full, max(word, _LEAST_TEXT))
            least.append(full)
        free = width - _GAP * (len(self.header) - 1) - sum(least)
        if free < 0:
            return None
        headers = [
            least[place] if name in self.texts else wanted[place]
            for place, name in enumerate(self.header)
        ]
        widths, free = _widened(least, headers, free)
        return _widened(widths, wanted, free)[0]


def _widened(widths: list[int], wanted: list[int], free: int) -> tuple[list[int], int]:
    """Divides free space in proportion to what is wanted; returns the widths and what is left."""
    widths = list(widths)
    while free > 0:
        short = [place for place, width in enumerate(widths) if width < wanted[place]]
        if not short:
            break
        widths[max(short, key=lambda place: wanted[place] / max(widths[place], 1))] += 1
        free -= 1
    return widths, free


def _padded(text: str, width: int, at_right: bool = False) -> str:
    space = " " * max(width - cell_len(text), 0)
    return space + text if at_right else text + space
