"""HTML for notebooks: text, tables and their style, without scripts.

Everything is escaped except :class:`Markup`, so a name with ``<script>`` is shown, not run.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ablab.config.table import cell_text
from ablab.config.wording import cut

MOST_ROWS = 20
"""The largest number of rows of a table in a notebook."""
_MOST_CHARACTERS = 300  # of a cell or a sentence
_LONG_CELL = 24  # characters, above which a cell may be broken into lines
_STATES = ("held", "failed")  # words that have a colour


class Markup(str):
    """HTML that is inserted as it is."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than text.

    Attributes:
        text: The cell as text.
        html: The cell in a notebook.
    """

    text: str
    html: Markup


def escaped(text: str) -> str:
    """Text in which nothing is markup."""
    return html.escape(text)


def block(*parts: str) -> str:
    """Parts of HTML as one output of a notebook, with the style that they need.

    It is a plain ``str``: marimo sends outputs with an encoder that does not know subclasses.
    """
    return f'<div class="ablab-out"><style>{_style()}</style>{"".join(parts)}</div>'


def paragraph(text: str, name: str = "") -> Markup:
    """Text as a paragraph; a very long one is cut.

    Args:
        text: The text, which is escaped unless it is :class:`Markup`.
        name: Its class: ``title``, ``soft`` or none.
    """
    return Markup(f"<p{_class(name)}>{_words(text)}</p>")


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    more: str = "",
    count: int | None = None,
) -> Markup:
    """A table of at most ``MOST_ROWS`` rows, and how many more there are.

    Args:
        header: The names of the columns.
        rows: The cells.
        more: How to get the rows that are left out.
        count: The number of rows, if not all are given.
    """
    shown = rows[:MOST_ROWS]
    numeric = [
        all(isinstance(row[place], int | float | None) for row in shown)
        for place in range(len(header))
    ]
    head = "".join(
        f"<th{_class('number' if number else '')}>{html.escape(str(name))}</th>"
        for name, number in zip(header, numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in shown)
    left = (len(rows) if count is None else count) - len(shown)
    rest = paragraph(and_more(left, more), "soft") if left else ""
    return Markup(
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{rest}"
    )


def folded(summary: str, *parts: str) -> Markup:
    """Parts of HTML that are shown after a click on a summary."""
    return Markup(f"<details><summary>{_words(summary)}</summary>{''.join(parts)}</details>")


def and_more(count: int, where: str = "") -> str:
    """How many are left out, and how to get them: ``and 28 more: result.table()``."""
    return f"and {count:,} more" + (f": {where}" if where else "")


@cache
def _style() -> str:
    """The style in one line, without comments."""
    text = (files("ablab.config") / "notebook.css").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)).strip()


def _cell(cell: object, numeric: bool) -> str:
    if isinstance(cell, Cell):
        return f"<td>{cell.html}</td>"
    text = f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else cell_text(cell)
    name = "number" if numeric else "words" if len(text) > _LONG_CELL else ""
    return f"<td{_class(text if text in _STATES else name)}>{_words(text)}</td>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _words(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(cut(text, _MOST_CHARACTERS))
