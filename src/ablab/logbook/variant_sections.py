"""The sections of an entry that compare its variants: key figure, results, costs, statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from ablab.logbook.answer_figure import answer_figure
from ablab.logbook.conclusions import Conclusions
from ablab.logbook.costs import cost_section
from ablab.logbook.main_setting import main_setting
from ablab.logbook.result_table import result_table
from ablab.logbook.samples import of_variants
from ablab.logbook.watched_section import watched_variants
from ablab.read.paused import paused_words
from ablab.read.step_costs import StepCosts
from ablab.store.store import ExperimentRecord, RunRecord, Store


def variant_sections(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    metrics: pl.DataFrame,
    found: Conclusions,
    costs: Mapping[str, StepCosts],
) -> dict[str, Any]:
    """The variables of these sections.

    Args:
        store: The store.
        record: The experiment.
        runs: Its runs.
        metrics: A row for each run and step, with the columns of the final measures.
        found: The findings.
        costs: The costs of a step of each run of a variant that is shown, by run id.
    """
    answer, measured, shown = found.answer, found.measured, found.shown
    concluded = answer.ranking is not None and answer.ranking.is_decided
    concluded = concluded and not paused_words(answer.values)
    key = None if measured is None else answer_figure(measured, answer.effects, concluded=concluded)
    of_shown = None
    if measured is not None:
        rows = [measured.variants[place] for place in shown.places]
        of_shown = replace(measured, variants=rows)
    cost = cost_section(shown.runs, costs, of_shown, main_setting(record, answer.effects))
    watched = watched_variants(store, record, runs)
    files = {each.file: each.drawing for variant in watched for each in variant.figures}
    files |= {"key-figure": key.drawing} if key is not None else {}
    files |= {"cost-figure": cost.drawing} if cost is not None and cost.drawing else {}
    return {
        "key_figure": key,
        "result": result_table(record, runs, metrics, answer, shown.places),
        "cost": cost,
        "watched": watched,
        "watched_of": of_variants(len(watched), len({str(run.variant) for run in runs})),
        "variant_files": {name: drawing for name, drawing in files.items() if drawing},
    }
