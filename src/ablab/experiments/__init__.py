"""Experiments: parsing, overrides, grids, checks, identity; measures and expectations.

- ``experiment``, ``variant``: an experiment, its variants and their runs
- ``outline``: an experiment without its variants, read without its modules and its data
- ``cell_checker``, ``assign``: the cells of a grid, checked
- ``source``: reads recipes, YAML files and mappings
- ``definition_file``: a definition as a YAML file
- ``header``, ``sizes``, ``grid``, ``overrides``: the name and seeds, sizes, axes, overrides
- ``parts``, ``resolve``: checks task, model, training and statistics settings; epochs as steps
- ``tree``: nested mappings with dotted keys, and the sources of their values
- ``limits``: limits on the size of an experiment
- ``identity``: run ids
- ``registration``: what reading needs of an experiment, recorded when it is registered
- ``cell``: one run of a stored definition
- ``short_names``: variants by what differs between them
- ``measures``, ``expectations``, ``grammar``: one number per run, claims, and how both are parsed
- ``levels``: levels and bounds that depend on a setting
- ``expectation_checks``: checks of expectations against their experiment
"""

from ablab.experiments.experiment import Experiment, Variant, experiment
from ablab.experiments.source import recipes

__all__ = ["Experiment", "Variant", "experiment", "recipes"]
