"""Logbook entries: the question, how it was run, and the results with their evidence.

Modules:

- ``answer``: the first sentences of an entry, which answer its question.
- ``claims``: compares the claims of logbooks with our results.
- ``conclusions``: the findings of an experiment, as sentences.
- ``draw``: draws a figure of one run by name.
- ``effect_figures``: figures of effects and interactions.
- ``effect_tables``: tables of effects.
- ``entry``: writes an entry.
- ``exports``: CSV, Parquet, TensorBoard and Weights & Biases.
- ``factor_section``: loss and accuracy by the factors of samples.
- ``figure``: the decorator and the registry of figures of a run.
- ``figures``: the shipped figures of a run, one per file.
- ``layers``: groups the statistics of a model's layers.
- ``listing``: ``LOGBOOK.md``.
- ``marks``: readings as marks on curves.
- ``notes``: the user's notes in an entry.
- ``page``: templates, scripts and the content security policy of pages.
- ``plotdata``: curves as JSON for the interactive figure.
- ``samples``: generated samples that were kept.
- ``statistic_sections``: selects the statistics, captures and incidents of an entry.
- ``svg``: the style of static figures, and SVG output.
- ``variant_curves``: the static figure of the variants' curves.
"""
