"""Watching: statistics for any tensor in a training step, full captures, a flight recorder.

Modules:

- ``captures``: saves complete tensors at some steps.
- ``column_buffer``: collects the statistics of a step in one tensor.
- ``columns``: resolves patterns to the statistics of a stack.
- ``config``: the ``watch`` section of a configuration.
- ``names``: families, reducers, and the grammar of statistic names.
- ``native_rows``: the pass over rows as a native function, on a CPU.
- ``parameter_rows``: passes over the rows of parameters.
- ``parameter_statistics``: statistics of parameters, gradients and optimizer state.
- ``predictions``: helpers for reducers that compare logits with targets.
- ``queries``: generates text from queries while runs train.
- ``recorder``: the flight recorder.
- ``reducer``: the interface of a reducer and its decorator.
- ``reducers``: the shipped reducers, one per file.
- ``rows``: the pass over a tensor that reducers of rows share.
- ``shadow``: statistics of a run, computed next to the stack that trains it.
- ``site_statistics``: statistics of activations and their gradients.
- ``site_sums``: finishes what passes over the tensors of sites give.
- ``sites``: the sites of a model and their shapes.
- ``step_statistics``: the collector that a stack calls at every step.
- ``watchable``: the statistics and captures that a run offers, before it is trained.
"""
