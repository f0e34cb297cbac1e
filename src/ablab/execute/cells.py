"""The runs of some cells of a grid, where not all are trained now."""

from collections.abc import Sequence

from ablab.config import InputError, Problem
from ablab.execute.options import Options
from ablab.experiments.cell_text import cell_text, in_cell, parse_cell
from ablab.experiments.experiment import Experiment
from ablab.experiments.halving import halving_of
from ablab.experiments.tuned_cells import is_to_tune
from ablab.train.run import Run

_SHOWN = 6  # cells in an error


def chosen_runs(asked: Experiment, options: Options) -> Sequence[Run]:
    """The runs of an experiment that are trained now: all, or those in any of the user's cells.

    Raises:
        InputError: No variant is in a cell.
    """
    if not options.where:
        return asked.runs
    keys = [variant.keys for variant in asked.variants]
    found = [False] * len(keys)
    for text in options.where:
        own = in_cell(keys, parse_cell(text))
        if not any(own):
            cells = [cell_text(each) or "no grid" for each in keys[:_SHOWN]]
            more = f", … ({len(keys)} variants)" if len(keys) > _SHOWN else ""
            raise InputError(
                Problem(
                    "no variant is in this cell",
                    "where",
                    given=text,
                    expected=f"settings of some variants: {'; '.join(cells)}{more}",
                )
            )
        found = [was or here for was, here in zip(found, own, strict=True)]
    return [
        run
        for variant, is_chosen in zip(asked.variants, found, strict=True)
        if is_chosen
        for run in variant.runs
    ]


def check_cells(asked: Experiment, options: Options) -> None:
    """Checks that cells are chosen only where rounds do not choose what is trained.

    Raises:
        InputError: The experiment adds seeds, halves its variants or tunes them.
    """
    if not options.where:
        return
    for is_so, what in (
        (asked.settling is not None, "adds seeds until its questions are settled"),
        (halving_of(asked.definition) is not None, "halves its variants"),
        (is_to_tune(asked.definition), "tunes its variants"),
    ):
        if is_so:
            raise InputError(
                Problem(
                    f"cells cannot be chosen in an experiment that {what}",
                    "where",
                    given="; ".join(options.where),
                    expected="an experiment with fixed seeds, without halving and tuning",
                )
            )
    chosen_runs(asked, options)
