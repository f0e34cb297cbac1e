"""Experiments: parsing, overrides, grids, checks, identity; measures and expectations.

- ``experiment``, ``variant``: an experiment, its variants and their runs
- ``outline``: an experiment without its variants, read without its modules and its data
- ``cell_text``: cells as text, ``key=value, …``
- ``cell_checker``, ``assign``: the cells of a grid, checked
- ``axes``, ``grid``, ``grid_reader``: axes, and the cells of a grid
- ``grid_conditions``, ``cell_settings``, ``stages``: where a key varies, decided in each cell
- ``inactive``: keys that do not vary in a run, as stores record them and as readers see them
- ``made_by``: the blocks of a grid that a stored experiment keeps beside its cells
- ``grid_changes``, ``grid_overrides``: what sizes, arguments and overrides change in a grid
- ``grid_data``: a grid as plain data
- ``grid_text``, ``joint_keys``: a grid in one line, and which keys vary together
- ``sweeps``, ``sweep_values``, ``whole_numbers``, ``plain_numbers``: numeric axes
- ``tuning``, ``tuned_cells``: how variants are tuned, and the settings that were found
- ``search``, ``trials``: what is tried, as an experiment of its own, and what is best
- ``source``, ``unquoted_calls``: reads recipes, YAML files and mappings
- ``definition_file``: a definition as a YAML file
- ``header``, ``seeds``, ``sizes``, ``overrides``: the name, seeds, sizes, overrides
- ``halving``: successive halving over the variants
- ``parts``, ``resolve``: checks task, model, training and statistics settings; epochs as steps
- ``setting_keys``, ``setting_problems``: valid keys and suggestions; what is wrong with settings
- ``shown_experiment``: what a notebook shows of an experiment
- ``skeletons``: writes new experiments and tasks, from ``templates``
- ``tree``: nested mappings with dotted keys, and the sources of their values
- ``limits``: limits on the size of an experiment
- ``identity``: run ids
- ``registration``: what reading needs of an experiment, recorded when it is registered
- ``cell``: one run of a stored definition
- ``short_names``: variants by what differs between them
- ``measures``, ``conditions``: one number per run, and conditions on it
- ``expectations``, ``grammar``: claims, and how they and measures are parsed
- ``declared``: what is declared of the measures of a task, by column
- ``levels``: levels and bounds that depend on a setting
- ``expectation_checks``: checks of expectations against their experiment
"""

from ablab.experiments.experiment import Experiment, Variant, experiment
from ablab.experiments.source import recipes

__all__ = ["Experiment", "Variant", "experiment", "recipes"]
