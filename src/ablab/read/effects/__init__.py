"""Effects: differences between settings with intervals, interactions, and scaling relations.

Modules:

- ``added_seeds``: effects of an experiment that added seeds until its questions were settled.
- ``best_values``: the best value of a setting at each value of one on which it depends.
- ``cells``: the mean of each cell.
- ``compare``: comparisons of the values of a setting.
- ``estimands``: what a difference is about, in words.
- ``inference``: intervals, tests and Holm's correction.
- ``interactions``: tests for interactions between settings.
- ``joint``: settings that vary together, as one.
- ``level``: the difference of two levels over seeds.
- ``level_means``: the mean of each level, corrected for missing runs.
- ``pairwise``: counts and levels of two values of a setting.
- ``paused_runs``: effects of an experiment of which halving paused runs.
- ``power``: the number of seeds that a comparison needs.
- ``prediction``: prediction intervals for settings that were not trained.
- ``report``: all effects of a grid together.
- ``robust``: interquartile means and probabilities of improvement, and log-rank tests.
- ``results``: the results of runs as one array.
- ``scaling``: power laws and exponentials.
- ``sentences``: effects as text.
- ``shown_comparison``: what a reader sees of one comparison.
- ``stored``: the effects of a stored experiment.
- ``tables``: the table of comparisons.
- ``trends``: trends over numeric settings with many values.
"""

from ablab.read.effects.best_values import BestValues, best_values_sentence
from ablab.read.effects.cells import Cell, cell_means
from ablab.read.effects.compare import Comparison, differences
from ablab.read.effects.interactions import Contrast, Interaction, interactions
from ablab.read.effects.pairwise import Counts
from ablab.read.effects.prediction import Prediction, predict
from ablab.read.effects.report import Effects, effects
from ablab.read.effects.results import Results, gather
from ablab.read.effects.robust import Robust, robust, robust_table
from ablab.read.effects.scaling import Fit, Scaling, scaling
from ablab.read.effects.sentences import (
    comparison_sentence,
    contrast_sentence,
    interaction_sentence,
    scaling_sentence,
    verdict_words,
)
from ablab.read.effects.trends import Trend, trend_sentence, trend_table

__all__ = [
    "BestValues",
    "Cell",
    "Comparison",
    "Contrast",
    "Counts",
    "Effects",
    "Fit",
    "Interaction",
    "Prediction",
    "Results",
    "Robust",
    "Scaling",
    "Trend",
    "best_values_sentence",
    "cell_means",
    "comparison_sentence",
    "contrast_sentence",
    "differences",
    "effects",
    "gather",
    "interaction_sentence",
    "interactions",
    "predict",
    "robust",
    "robust_table",
    "scaling",
    "scaling_sentence",
    "trend_sentence",
    "trend_table",
    "verdict_words",
]
