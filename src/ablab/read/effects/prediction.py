"""Predicts the measure at a value of a setting that was not trained, with a prediction interval."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from statsmodels.regression.linear_model import OLS

from ablab.config import InputError, Problem
from ablab.experiments.expectations import LEAST_LEVELS
from ablab.read.effects.compare import factor
from ablab.read.effects.inference import Interval
from ablab.read.effects.level_means import level_means
from ablab.read.effects.results import Array, Others, Results
from ablab.read.effects.scaling import Form, scaling

_ROUNDING = 1e-12  # of a logarithm, in means of many runs and in a fit
_DECISIVE = 10.0
"""A relation whose AIC is higher by more has no support (Burnham and Anderson, 2002)."""


@dataclass(frozen=True)
class Prediction:
    """A prediction for a setting that was not trained.

    Attributes:
        key: The setting.
        value: Its value.
        measure: The name of the measure.
        form: The fitted relation; the better one if both are possible.
        either: Whether the data do not decide which relation holds; the interval is then that of
            both together.
        predicted: The predicted geometric mean over as many seeds as each trained value has.
        interval: The 95% prediction interval of that mean. It holds if the relation holds there,
            which data inside the range of trained values cannot show.
        extrapolates: Whether the value is outside the range of trained values.
        seeds: The number of seeds.
    """

    key: str
    value: float
    measure: str
    form: Form
    predicted: float
    interval: Interval
    extrapolates: bool
    seeds: int
    either: bool = False

    def as_data(self) -> dict[str, Any]:
        """The prediction as plain data."""
        return dict(vars(self)) | {"interval": list(self.interval)}

    def sentence(self) -> str:
        """The prediction in a sentence."""
        low, high = self.interval
        form = "power law or exponential" if self.either else self.form
        beyond = ", outside the range of trained values" if self.extrapolates else ""
        return (
            f"{self.key}={self.value:g} will have {self.measure} {self.predicted:.3g} "
            f"[{low:.3g}, {high:.3g}] ({form}, 95% prediction interval of the mean of "
            f"{self.seeds} seed{'s' * (self.seeds != 1)}{beyond})."
        )


def predict(
    results: Results,
    of: str,
    value: float,
    others: Others = "all",
    form: Form | None = None,
    alpha: float = 0.05,
) -> Prediction:
    """Predicts the measure at a value of a setting that was not trained.

    A line through the logarithms of the levels' means. Their deviations from it contain both the
    noise of seeds and the misfit of the relation, so the interval is that of a new observation in
    ordinary least squares (statsmodels), with two degrees of freedom fewer than levels.

    Args:
        results: The results of the runs; the measure must be positive.
        of: The setting.
        value: The value of the setting.
        others: As in :func:`ablab.read.effects.scaling.scaling`.
        form: The relation; by default the better one, and both where the better one's AIC is not
            lower by more than 10. Choosing the better one alone covers as little as 80% of noisy
            values (decision 26).
        alpha: The significance level: the confidence of the interval is 1 - alpha.

    Raises:
        InputError: The setting is not numeric, the measure is not positive, some runs have two
            groups of outcomes or did not reach the step, fewer than four values have results, or
            all of these are on the line.
    """
    found = scaling(results, of, others)
    if len(found.levels) < LEAST_LEVELS or not found.fits:
        raise InputError(
            Problem(
                f"{of} has {len(found.levels)} values with results, too few for a prediction",
                of,
                expected=f"at least {LEAST_LEVELS} values",
            )
        )
    if results.cut is not None or results.horizon is not None:
        raise InputError(
            Problem(
                f"some runs did not learn or did not reach {results.measure}, so there is no "
                "single relation to predict from",
                of,
            )
        )
    values = np.log(results.by([of], others, results.values))
    trained = np.array(results.levels[of], dtype=np.float64)
    there = np.isfinite(values).any(axis=(1, 2))
    means, trained = level_means(values[there]), trained[there]
    forms: list[Form] = [fit.form for fit in found.fits] if form is None else [form]
    if form is None and value <= 0:
        forms = ["exponential"]
    lines = [_line(each, of, trained, means, value, alpha) for each in forms]
    lines.sort(key=lambda line: line.aic)
    possible = [each for each in lines if each.aic <= lines[0].aic + _DECISIVE]
    return Prediction(
        of,
        float(value),
        results.measure,
        lines[0].form,
        factor(lines[0].predicted),
        (factor(min(each.low for each in possible)), factor(max(each.high for each in possible))),
        not trained.min() <= value <= trained.max(),
        len(results.seeds),
        len(possible) > 1,
    )


@dataclass(frozen=True)
class _Line:
    """A line through logarithms of levels' means, and what it predicts."""

    form: Form
    aic: float
    predicted: float
    low: float
    high: float


def _line(form: Form, of: str, trained: Array, means: Array, value: float, alpha: float) -> _Line:
    """The prediction of one relation, in logarithms.

    Raises:
        InputError: A power law is asked for at a value that is not positive, or all points are on
            the line, so that there is no variance to estimate.
    """
    if form == "power law" and min(value, trained.min()) <= 0:
        raise InputError(Problem(f"a power law needs positive values of {of}", of, given=value))
    x, at = (np.log(trained), np.log(value)) if form == "power law" else (trained, value)
    line = OLS(means, np.column_stack([np.ones_like(x), x])).fit()
    if float(np.abs(line.resid).max()) <= _ROUNDING * float(np.abs(means).max(initial=1.0)):
        what = f"the values of {of} are on a line without noise, so how far others are is not known"
        raise InputError(Problem(what, of))
    told = line.get_prediction(np.array([[1.0, at]]))
    low, high = told.conf_int(obs=True, alpha=alpha)[0]
    return _Line(form, float(line.aic), float(told.predicted_mean[0]), float(low), float(high))
