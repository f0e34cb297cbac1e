"""Interprets stored results: curves, summaries, measures, effects and verdicts.

Modules:

- ``aligned``: the runs of several samples as arrays of the same cells and seeds.
- ``bands``: the curve of each seed, and the median and range of each variant.
- ``by_factor``: what is learnt first, by the factors of a task's samples.
- ``by_outcome``: outcomes of comparisons of runs with an outcome with the others.
- ``calibration``: how often expectations held, compared with the stated confidence.
- ``comparisons``: outcomes of comparisons of numbers.
- ``curves``: the curve reader.
- ``directions``: which values of a column are better, and its range, as declared.
- ``diverged``: outcomes that runs which diverged can overturn.
- ``documents``: effects and verdicts as JSON for scripts, and their schemas.
- ``effects``: the effects of settings, their interactions and their scaling.
- ``family``: verdicts of one family, corrected for their number.
- ``guessing``: the loss of guessing, which a run that did not learn keeps.
- ``halving``, ``halving_report``: which variants halving lets go on, and what it saved.
- ``hypothesis_tests``: the runs that verdicts are about, and their values.
- ``incidents``: finds the statistics that deviated first before an incident.
- ``judgements``: outcomes of orders and ranges of numbers.
- ``judging``: judges an expectation on measured runs, at a significance level.
- ``measured``: the type of a measured value.
- ``measure_words``: measures and columns in words.
- ``measures``: computes a measure for each run.
- ``medians``: medians over runs of which some did not get there.
- ``not_reached``: outcomes of relations between steps that some runs did not reach.
- ``pairs``: training and held-out curves of stored runs, read together.
- ``paused``: outcomes in which runs that halving paused lack a value.
- ``predicted``: outcomes of expectations on a value that was not trained.
- ``quantity``: the range, unit and average of the values of a measure.
- ``readings``: readings of stored runs, cached in the index.
- ``rounds``: what reads results between the rounds of a training.
- ``run_curves``: a column of each run as a curve, and where its values are not finite.
- ``samples``: predictions on held-out samples, and generated text.
- ``settling``: questions that are settled by adding seeds.
- ``short_variants``: variants that were trained for far fewer steps than the others.
- ``side_by_side``: several experiments with the settings that differ between them.
- ``spikes``: explains spikes and suggests a test.
- ``statistics``: statistics for few seeds.
- ``step_costs``: tokens, seconds and arithmetic of a step of each run.
- ``stopped``: runs that a stop rule ended.
- ``summary``: final values of each variant, with median and range over seeds.
- ``training_flops``: the arithmetic of a training step.
- ``trend_tests``: tests of a trend over the values of a setting.
- ``tuning``: what tuning found: the best settings, how flat the optimum is, what it cost.
- ``tuning_report``: that as a table, sentences and plain data.
- ``two_groups``: outcomes of relations between numbers of runs that learnt or did not.
- ``verdicts``: verdicts on expectations.
"""
