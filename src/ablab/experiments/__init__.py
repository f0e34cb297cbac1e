"""The question: a base configuration, a grid, seeds; composed, checked, and told apart by id."""

from ablab.experiments.experiment import Experiment, Variant, experiment
from ablab.experiments.source import recipes

__all__ = ["Experiment", "Variant", "experiment", "recipes"]
