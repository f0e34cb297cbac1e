"""Cost beside gain: what each variant costs, and the answer's measure against each cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ablab.experiments.short_names import short_names
from ablab.logbook.colours import CROWDED, Style, styles
from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.labels import fitted
from ablab.logbook.svg import PAPER, figure_style, logarithmic, plain_axes, svg
from ablab.logbook.variant_values import MeasuredVariants
from ablab.read.curves.numbers import number
from ablab.read.step_costs import StepCosts
from ablab.store.store import RunRecord

_WIDE_RANGE = 8.0  # ratio of costs above which their axis is logarithmic
_LETTERS = 30  # so many fit below a panel
_LABEL = 26  # maximum length of a line of the y axis's label
_PANEL = 2.8  # the width of a panel, in inches
_NAME = 36  # maximum length of a variant's name
_NAMED = 12  # with more variants than this, there is no legend
_SHAPES = "os^Dv*P"

HEADER = [
    "variant",
    "parameters",
    "FLOPs per step",
    "tokens per step",
    "seconds per run",
    "FLOPs per run",
]


@dataclass(frozen=True)
class VariantCost:
    """The costs of a variant, as medians over its runs; None where they are not known.

    Attributes:
        name: What sets the variant apart.
        parameters: The number of parameters.
        flops: The estimated floating-point operations of a training step.
        tokens: The input tokens of a training step.
        seconds: The time of a run: its share of the time of the runs trained together.
        total_flops: The estimated floating-point operations of a whole run.
        formula: How they were estimated.
    """

    name: str
    parameters: float | None
    flops: float | None
    tokens: float | None
    seconds: float | None
    total_flops: float | None
    formula: str

    @property
    def cells(self) -> list[str]:
        """A row of the table."""
        return [
            self.name,
            "" if self.parameters is None else f"{self.parameters:,.0f}",
            scientific(self.flops),
            "" if self.tokens is None else f"{self.tokens:,.0f}",
            "" if self.seconds is None else number(self.seconds),
            scientific(self.total_flops),
        ]


@dataclass(frozen=True)
class CostSection:
    """The costs of all variants as a table and a figure.

    Attributes:
        header: The titles of the columns; a cost that is known of no variant has none.
        rows: The cells of each variant.
        notes: How the numbers were estimated.
        drawing: The answer's measure against each cost, as SVG; None if there is nothing to draw.
        words: The measure in words.
    """

    header: list[str]
    rows: list[list[str]]
    notes: list[str]
    drawing: str | None
    words: str


def cost_section(
    runs: Sequence[RunRecord],
    costs: Mapping[str, StepCosts],
    found: MeasuredVariants | None,
    main: str | None = None,
) -> CostSection | None:
    """What each variant costs, beside the answer's measure.

    Args:
        runs: The runs.
        costs: The costs of a step of each run, by run id.
        found: The answer's measure of all variants; None if no run has it.
        main: The setting that colours show if they can show only one.

    Returns:
        The section; None if no run was trained yet.
    """
    variants, cells = variant_costs(runs, costs)
    if not any(each.seconds for each in variants):
        return None
    drawing = None
    if found is not None and found.all_values and len(variants) > 1:
        drawing = _figure(variants, cells, found, main)
    rows = [each.cells for each in variants]
    words = "" if found is None else found.words
    known = [place for place in range(len(HEADER)) if any(row[place] for row in rows)]
    header, rows = [HEADER[place] for place in known], [[row[p] for p in known] for row in rows]
    notes = _notes(variants)
    few = [] if found is None else [row for row in found.variants if row.few_steps]
    if few:
        told = ", ".join(f"{row.name} ({row.few_steps:,} steps)" for row in few)
        notes.append(f"Trained for far fewer steps than the others: {told}.")
    return CostSection(header, rows, notes, drawing, words)


def variant_costs(
    runs: Sequence[RunRecord], costs: Mapping[str, StepCosts]
) -> tuple[list[VariantCost], list[dict[str, Any]]]:
    """The costs of each variant, and the variants' keys and values, in the order of the runs."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(str(run.variant), []).append(run)
    cells = [group[0].variant for group in groups.values()]
    names = short_names(cells)
    found = []
    for name, group in zip(names, groups.values(), strict=True):
        mine = [costs[run.run] for run in group]
        flops = [each.flops for each in mine if each.flops is not None]
        found.append(
            VariantCost(
                name=name,
                parameters=_median(run.n_params for run in group),
                flops=_median(each.flops for each in flops),
                tokens=_median(each.tokens for each in mine),
                seconds=_median(
                    None if cost.seconds is None else cost.seconds * run.step
                    for run, cost in zip(group, mine, strict=True)
                ),
                total_flops=_median(
                    None if cost.flops is None else cost.flops.flops * run.step
                    for run, cost in zip(group, mine, strict=True)
                ),
                formula=flops[0].formula if flops else "",
            )
        )
    return found, cells


def _median(values: Iterable[float | None]) -> float | None:
    known = [float(each) for each in values if each is not None]
    return median(known) if known else None


def scientific(value: float | None) -> str:
    """A large number in three digits: ``1.23 G``; empty if it is not known."""
    if value is None:
        return ""
    for limit, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {prefix}"
    return f"{value:.3g}"


def _notes(variants: Sequence[VariantCost]) -> list[str]:
    formulas = list(dict.fromkeys(each.formula for each in variants if each.formula))
    notes = ["Medians over seeds. " + (
        "FLOPs of the forward and backward pass, estimated as " + "; or ".join(formulas) + "."
        if formulas else "FLOPs are not known for this task."
    )]  # fmt: skip
    notes.append(
        "Seconds are a run's share of the time of the runs that were trained together with it, up "
        "to its last step: an estimate, since a run alone can take longer or shorter."
    )
    return notes


@cached_drawing
def _figure(
    variants: Sequence[VariantCost],
    cells: Sequence[dict[str, Any]],
    found: MeasuredVariants,
    main: str | None,
) -> str | None:
    panels: list[tuple[str, Callable[[VariantCost], float | None]]] = [
        ("parameters", lambda each: each.parameters),
        ("FLOPs per run", lambda each: each.total_flops),
        ("tokens per step", lambda each: each.tokens),
        ("seconds per run", lambda each: each.seconds),
    ]
    shown = [
        (title, of) for title, of in panels
        if len({of(each) for each in variants if of(each) is not None}) > 1
    ]  # fmt: skip
    if not shown:
        return None
    look = styles(cells, main)
    with figure_style():
        columns = 2 if len(shown) > 1 else 1
        rows = -(-len(shown) // columns)
        size = (max(4.2, _PANEL * columns), 2.3 * rows + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(shown) :]:
            axes.set_visible(False)
        handles = []
        for axes, (title, of) in zip(grid.flat, shown, strict=False):
            costs = [of(each) for each in variants]
            handles = _panel(axes, costs, found, look.styles)
            axes.set_xlabel(title)
        for axes in grid[:, 0]:
            axes.set_ylabel(fill(found.words, _LABEL), fontsize=8)
        if 1 < len(variants) <= _NAMED:
            names = [fitted(look.names[place], _NAME) for place in look.order]
            figure.legend(
                [handles[place] for place in look.order], names, loc="outside upper left",
                ncols=2 if max(map(len, names)) > 14 else 3,
            )  # fmt: skip
        return svg(figure)


def _panel(
    axes: Axes, costs: Sequence[float | None], found: MeasuredVariants, looks: Sequence[Style]
) -> list[Any]:
    """A dot for each run at its variant's cost, and a larger one for the median."""
    crowded = len(costs) > CROWDED
    handles: list[Any] = []
    for cost, row, style in zip(costs, found.variants, looks, strict=True):
        marker = _SHAPES[style.shape % len(_SHAPES)]
        look: dict[str, Any] = {
            "color": style.colour,
            "mfc": style.colour if style.dash == 0 else PAPER,
            "mew": 1.3,
        }
        (handle,) = axes.plot([], [], marker, ms=6, **look)
        handles.append(handle)
        if cost is None:
            continue
        small: dict[str, Any] = {"ms": 2.5, "color": style.colour, "alpha": 0.6, "ls": "none"}
        axes.plot([cost] * len(row.values), row.values, "o", **small)
        axes.plot([cost] * len(row.missed), row.missed, "^", ms=4.5, mfc=PAPER, mec=style.colour)
        if row.median is not None:
            axes.plot([cost], [row.median], marker, ms=4 if crowded else 7, zorder=3, **look)
    known = [each for each in costs if each]
    if known and max(known) / min(known) > _WIDE_RANGE:
        axes.set_xscale("log")
        span = max(known) / min(known)
        subs = (1.0, 2.0, 5.0) if span < 12 else (1.0, 3.0) if span < 100 else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        places = MaxNLocator(4).tick_values(min(known or [0]), max(known or [1]))
        letters = sum(len(_with_unit(place)) for place in places)
        axes.xaxis.set_major_locator(MaxNLocator(4 if letters <= _LETTERS else 2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _with_unit(place)))
    if found.is_wide:
        logarithmic(axes)
    axes.margins(0.1, 0.12)
    plain_axes(axes)
    return handles


def _with_unit(place: float) -> str:
    """A number with a prefix if it is large, as in ``3.8 k``; 0.8 is not 800 m."""
    return f"{place:.3g}" if abs(place) < 1 else EngFormatter(sep=" ")(place)
