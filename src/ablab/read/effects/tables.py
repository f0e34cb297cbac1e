"""The table of comparisons."""

from collections.abc import Mapping, Sequence

from ablab.read.effects.compare import Comparison
from ablab.read.effects.results import Scale
from ablab.read.effects.sentences import verdict_words
from ablab.read.measured import shown

_HEADER = ["setting", "value", "vs", "difference", "95% interval", "adjusted p", "seeds",
           "verdict"]  # fmt: skip


def comparison_table(
    comparisons: Sequence[Comparison], scale: Scale, names: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Comparisons as the header and the rows of a table.

    Args:
        comparisons: The comparisons.
        scale: Whether they are differences or ratios.
        names: The short name of each setting.
    """
    header = list(_HEADER)
    if scale == "ratio":
        header[3] = "ratio"
    return header, [_row(each, names) for each in comparisons]


def _row(each: Comparison, names: Mapping[str, str]) -> list[str]:
    interval = each.interval
    return [
        names[each.key],
        str(each.value),
        str(each.reference),
        "" if each.difference is None else shown(each.difference),
        "none" if interval is None else f"[{shown(interval[0])}, {shown(interval[1])}]",
        "" if each.p_adjusted is None else f"{each.p_adjusted:.2g}",
        str(each.seeds),
        verdict_words(each),
    ]
