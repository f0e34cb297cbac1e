"""Logbook entries: the question, how it was run, and the results with their evidence.

Modules:

- ``answer``: the first sentences of an entry, which answer its question.
- ``answer_figure``: the key figure: the answer's measure, a dot for each run.
- ``claims``: compares the claims of logbooks with our results.
- ``colours``: colours, dashes and names of variants, for figures and the page.
- ``compare_experiments``: compares experiments: one table and shared axes.
- ``compare_page``: writes the page of a comparison, with the user's conclusions.
- ``compare_runs``: compares two runs.
- ``comparison``: the parts of a comparison, and its curves.
- ``conclusions``: the findings of an experiment, as sentences.
- ``costs``: what each variant costs, beside the answer's measure.
- ``draw``: draws a figure of one run by name.
- ``drawn_findings``: findings with their figures, for notebooks and ``ablab figure``.
- ``drawn_curves``: selects the page's curves, at a resolution that bounds its size.
- ``effect_figures``: figures of effects and interactions.
- ``effect_tables``: tables of effects.
- ``entry``: writes an entry.
- ``experiment_differences``: differences between experiments, or why none is tested.
- ``exports``: CSV, Parquet, TensorBoard and Weights & Biases.
- ``factor_section``: loss and accuracy by the factors of samples.
- ``finding_figures``: draws what analyses found.
- ``findings_section``: the sections on what analyses found.
- ``figure``: the decorator and the registry of figures of a run.
- ``figures``: the shipped figures of a run, one per file.
- ``layers``: groups the statistics of a model's layers.
- ``listing``: ``LOGBOOK.md``.
- ``mark_drawing``: draws the curve reader's findings on static figures.
- ``marks``: readings as marks on curves.
- ``notes``: the user's notes in an entry.
- ``numeric_setting``: the numeric setting against which a measure is drawn.
- ``page``: templates, scripts and the content security policy of pages.
- ``plotdata``: curves as JSON for the interactive figure.
- ``repeat``: what repeats an experiment: its definition as YAML, and a command.
- ``result_table``: the table of results, with a dot for each run.
- ``samples``: generated samples that were kept.
- ``scales``: whether an axis is logarithmic.
- ``statistic_sections``: selects the statistics and incidents of an entry.
- ``svg``: the style of static figures, and SVG output.
- ``variant_curves``: the static figure of the variants' curves.
- ``variant_sections``: the sections that compare variants.
- ``variant_values``: a measure by variant, and how many runs learnt or got there.
- ``watched_section``: figures of statistics and captures, by variant.
"""
