"""Public objects as short text and as HTML for notebooks.

A public class inherits :class:`Displayed` and says with :class:`Shown` what a reader sees. Text has
at most ten lines of 80 columns, and HTML is no longer than a screen, so that an object that ends a
cell does not hide the notebook. What is left out is counted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ablab.config.errors import InputError
from ablab.config.html import Cell, Markup, and_more, block, folded, paragraph, table
from ablab.config.table import cell_text, table_lines, wrapped
from ablab.config.wording import cut, visible

TEXT_LINES, TEXT_WIDTH = 10, 80
_MOST_SENTENCES = 6
_CELL = 60  # columns of a cell in text


@dataclass(frozen=True)
class Shown:
    """What a reader sees of an object.

    Attributes:
        title: What it is, in one line.
        sentences: What is to be said of it, the most important first.
        header: The names of the columns of a table.
        rows: Its cells.
        more: How to get what is left out.
        count: The number of rows, if not all are given.
        figure: Figures, in HTML only.
        below: What can be unfolded below the table, in HTML only.
    """

    title: str
    sentences: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    more: str = ""
    count: int | None = None
    figure: Markup = field(default=Markup())
    below: Sequence[tuple[str, Markup]] = ()

    def text(self) -> str:
        """At most ten lines of at most 80 columns."""
        lines = _in_lines(_one_line(self.title), 2)
        room = TEXT_LINES - len(lines)
        said = [line for each in self.sentences for line in wrapped(_one_line(each), TEXT_WIDTH)]
        most = min(room, 3) if self.rows else room
        if len(said) > most:
            said = [*said[: most - 1], cut(f"{said[most - 1]} …", TEXT_WIDTH)]
        return "\n".join([*lines, *said, *self._table(room - len(said))])

    def _table(self, room: int) -> list[str]:
        """The rows that fit, and how many more there are."""
        cells = [
            [cut(cell_text(cell.text if isinstance(cell, Cell) else cell), _CELL) for cell in row]
            for row in self.rows
        ]
        more = _one_line(self.more)
        columns = [place for place in range(len(self.header)) if any(row[place] for row in cells)]
        if not columns:
            return []
        header = [self.header[place] for place in columns]
        cells = [[row[place] for place in columns] for row in cells]
        total = len(cells) if self.count is None else self.count
        for count in range(min(len(cells), room), 0, -1):
            found = table_lines(header, cells[:count], TEXT_WIDTH, texts=header)
            rest = [and_more(total - count, more)] if total > count else []
            if len(found) + len(rest) <= room:
                return [*(line.text for line in found), *(cut(each, TEXT_WIDTH) for each in rest)]
        return [cut(and_more(total, more), TEXT_WIDTH)] if total and room else []

    def html(self) -> str:
        """HTML with its own style, and without scripts."""
        left = len(self.sentences) - _MOST_SENTENCES
        return block(
            paragraph(self.title, "title"),
            *(paragraph(each) for each in self.sentences[:_MOST_SENTENCES]),
            paragraph(and_more(left), "soft") if left > 0 else "",
            self.figure,
            table(self.header, self.rows, self.more, self.count) if self.rows else "",
            *(folded(summary, part) for summary, part in self.below),
        )


class Displayed(ABC):
    """An object with a short text and an HTML form.

    A dataclass that inherits it is declared with ``repr=False``.
    """

    @abstractmethod
    def shown(self) -> Shown:
        """What a reader sees of the object."""

    def drawn(self) -> Shown:
        """The same for a notebook, where it can have figures."""
        return self.shown()

    def __repr__(self) -> str:
        return self._guarded(self.shown).text()

    def _repr_html_(self) -> str:
        return self._guarded(self.drawn).html()

    def _guarded(self, shown: Callable[[], Shown]) -> Shown:
        """What is shown; a damaged store is told, since a display must not raise."""
        try:
            return shown()
        except InputError as error:
            return Shown(type(self).__name__, [error.problems[0].message])


def _one_line(text: str) -> str:
    """Text in one line; what a terminal would obey is shown as an escape."""
    return visible(" ".join(text.split()))


def _in_lines(text: str, most: int) -> list[str]:
    """Text in at most some lines."""
    lines = wrapped(text, TEXT_WIDTH)
    return lines if len(lines) <= most else [*lines[: most - 1], cut(f"{lines[most - 1]} …", 80)]
