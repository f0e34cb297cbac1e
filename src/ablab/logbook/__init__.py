"""Logbook entries: the question, how it was run, and the results with their evidence.

Modules:

- ``claims``: compares the claims of logbooks with our results.
- ``conclusions``: the findings of an experiment, as sentences.
- ``draw``: draws a statistic or capture of one run.
- ``effect_figures``: figures of effects and interactions.
- ``effect_tables``: tables of effects.
- ``entry``: writes an entry.
- ``exports``: CSV, Parquet, TensorBoard and Weights & Biases.
- ``figures``: static figures of curves.
- ``listing``: ``LOGBOOK.md``.
- ``marks``: readings as marks on curves.
- ``notes``: the user's notes in an entry.
- ``page``: templates, scripts and the content security policy of pages.
- ``plotdata``: curves as JSON for the interactive figure.
- ``samples``: generated samples.
- ``statistic_figures``: figures of statistics and captures.
- ``statistic_sections``: selects the statistics, captures and incidents of an entry.
"""
