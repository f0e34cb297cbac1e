"""Measures of made-up experiments, without a store."""

import polars as pl

import ablab
from ablab.experiments.registration import register
from ablab.logbook.variant_values import variant_values
from ablab.read.measured import Measured, measured_columns
from ablab.store.store import ExperimentRecord

HORIZON = 500


def record_of(values, seeds, key="model.d_model"):
    """The record of an experiment over a setting."""
    made = ablab.experiment(
        {
            "name": "made-up",
            "question": "Does it?",
            "task": {"kind": "addition"},
            "grid": {key: [typed(value) for value in values]},
            "seeds": seeds,
        }
    )
    return ExperimentRecord(
        1, "made-up", "Does it?", made.definition, "ablab run made-up", {}, {}, "2026-01-01", None,
        register(made),
    )  # fmt: skip


def typed(text):
    return int(text) if text.isdigit() else float(text)


def table_of(cells, key="model.d_model"):
    """A row for each run; None is a step that was not reached by step 500."""
    values, keys, seeds = [], [], []
    for name, numbers in cells.items():
        for seed, number in enumerate(numbers):
            missed = Measured(not_before=HORIZON, reason="not reached by step 500")
            values.append(missed if number is None else Measured(float(number)))
            keys.append(typed(name))
            seeds.append(seed)
    runs = [f"run{place}" for place in range(len(values))]
    status = ["finished"] * len(values)
    return pl.DataFrame(
        {"run": runs, key: keys, "seed": seeds} | measured_columns(values) | {"status": status}
    )


def measured(measure, cells, key="model.d_model"):
    """A measure of all variants, with the values of each variant's seeds."""
    seeds = max(len(numbers) for numbers in cells.values())
    return variant_values(record_of(list(cells), seeds, key), measure, table_of(cells, key))
