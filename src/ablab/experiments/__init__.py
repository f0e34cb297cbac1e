"""Experiments: parsing, overrides, grids, checks, identity; measures and expectations."""

from ablab.experiments.experiment import Experiment, Variant, experiment
from ablab.experiments.source import recipes

__all__ = ["Experiment", "Variant", "experiment", "recipes"]
