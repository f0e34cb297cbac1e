"""Readings are plain data that JSON can hold, of whatever curve; the index takes no other."""

import json

import numpy as np
import pytest

from ablab.read.curves import read_curve
from ablab.read.curves.reading import from_data

LEVELS = {"log(10)": np.log(10), "log(2)": np.log(2)}
CURVES = {
    "noise": lambda draw, steps: draw.normal(size=len(steps)),
    "flat": lambda draw, steps: 2.3 + 1e-3 * draw.normal(size=len(steps)),
    "exponential": lambda draw, steps: (
        np.exp(-steps / draw.uniform(1, 300)) + 0.01 * draw.normal(size=len(steps))
    ),
    "steps": lambda draw, steps: (
        np.where(np.arange(len(steps)) < draw.integers(0, len(steps) + 1), np.log(10), 0.1)
        + 0.02 * np.abs(draw.normal(size=len(steps)))
    ),
    "extreme": lambda draw, steps: 10.0 ** draw.uniform(-300, 300, len(steps)),
    "zero": lambda draw, steps: np.zeros(len(steps)),
    "power": lambda draw, steps: 5 * steps ** -draw.uniform(0.1, 6) + 1e-12,
    "two levels and a bin between": lambda draw, steps: np.concatenate(
        [np.full(len(steps) // 3, np.log(10)), np.full(len(steps) - len(steps) // 3, 0.01)]
    ),
}


@pytest.mark.parametrize("kind", CURVES)
def test_any_curve_has_a_reading_that_json_can_hold(kind):
    draw = np.random.default_rng(3)
    for _ in range(60):
        steps = np.cumsum(draw.integers(1, 20, draw.integers(1, 60))).astype(float)
        values = CURVES[kind](draw, steps)
        if draw.random() < 0.2 and len(values) > 1:
            values[draw.integers(len(values))] = draw.choice([np.nan, np.inf, -np.inf])
        reading = read_curve(steps, values, "train_loss", LEVELS, "lower")
        text = json.dumps(reading.as_data(), allow_nan=False)
        assert from_data(json.loads(text)) == reading


def test_a_fall_of_too_few_values_has_no_rate():
    """Between two plateaus, from one value to the next, there is a descent and nothing to fit."""
    steps = np.arange(1, 301, dtype=float)
    clean = np.where(steps <= 87, np.log(10), 2.2)
    clean = np.where(steps <= 116, clean, 2.2 * (steps / 116) ** -1.6)
    values = clean * np.exp(0.012 * np.random.default_rng(0).normal(size=300))
    reading = read_curve(steps, values, "train_loss", LEVELS, "lower")
    first, second = reading.descents
    assert first.end - first.start <= 2 and first.rate is None
    assert second.rate == pytest.approx(-1.6, abs=0.2)
