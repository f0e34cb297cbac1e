"""What the figures of an analysis show, as data; ``logbook/finding_figures`` draws them.

Heads, neurons and frequencies have no identity across seeds, so tables and arrays are drawn run by
run; only scalars are drawn over seeds.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

ColourScale = Literal["sequential", "diverging"]


@dataclass(frozen=True)
class Curves:
    """Scalars over training: each run, the median over seeds, and the losses below.

    Attributes:
        name: The figure's name.
        title: What one sees, in a few words.
        scalars: The scalars by name, with their labels in the figure.
        y: The label of the axis, with its unit.
        logarithmic: Whether the axis is.
    """

    name: str
    title: str
    scalars: dict[str, str]
    y: str
    logarithmic: bool = False


@dataclass(frozen=True)
class Bars:
    """A column of a table after the latest step that was looked at, in a panel for each run.

    Attributes:
        name: The figure's name.
        title: What one sees, in a few words.
        table: The table.
        x: The columns that name a bar, such as the block and the head; numbers of a single column
            are a scale.
        y: The column that is drawn.
        x_label: The label of the axis.
        y_label: The label of the other axis, with its unit.
        low: The column of the lower ends of intervals; None without intervals.
        high: The column of their upper ends.
        null: A column with what chance gives, drawn as a line; None without one.
        sort: Whether the longest bars come first.
        line: Whether numbers on a scale are points on a line in place of bars.
        most: The largest number of bars.
    """

    name: str
    title: str
    table: str
    x: tuple[str, ...]
    y: str
    x_label: str
    y_label: str
    low: str | None = None
    high: str | None = None
    null: str | None = None
    sort: bool = False
    line: bool = False
    most: int = 60


@dataclass(frozen=True)
class HeatMap:
    """A matrix after the latest step that was looked at, in a panel for each run.

    Attributes:
        name: The figure's name.
        title: What one sees, in a few words.
        array: The array, (rows, columns), or (n, rows, columns) for ``n`` panels of one run.
        x_label: What the columns are.
        y_label: What the rows are.
        value: What the values are, with their unit.
        scale: ``diverging`` for values around zero.
        sort_by: For n panels, the table and the column by which they are sorted; its rows are the
            panels. None keeps their order.
        panel: What one of n panels is, such as ``neuron``; its number follows.
        number_by: The table and the column that have the numbers of n panels; None for 0 … n - 1.
            If the table has a column ``block`` with several values, names begin with the block.
        among: A column of that table, and its value in the rows of the panels; None for all rows.
        most: The largest number of panels of one run.
        name_sorts: Whether a panel's name has the value that it is sorted by, in brackets.
    """

    name: str
    title: str
    array: str
    x_label: str
    y_label: str
    value: str
    scale: ColourScale = "sequential"
    sort_by: tuple[str, str] | None = None
    panel: str = ""
    number_by: tuple[str, str] | None = None
    among: tuple[str, str] | None = None
    most: int = 24
    name_sorts: bool = False


AnalysisFigure = Curves | Bars | HeatMap

_KINDS = {"curves": Curves, "bars": Bars, "heat_map": HeatMap}


def figure_as_data(figure: AnalysisFigure) -> dict[str, Any]:
    """A figure as plain data; see :func:`figure_from_data`."""
    kind = next(name for name, each in _KINDS.items() if isinstance(figure, each))
    return {"kind": kind, **asdict(figure)}


def figure_from_data(data: dict[str, Any]) -> AnalysisFigure | None:
    """The figure that :func:`figure_as_data` gave; None if another release knows more kinds."""
    kind = _KINDS.get(str(data.get("kind")))
    if kind is None:
        return None
    known = {each.name for each in fields(kind)}
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in data.items()
        if name in known
    }
    try:
        figure: AnalysisFigure = kind(**values)
    except TypeError:  # it lacks a value
        return None
    return figure
