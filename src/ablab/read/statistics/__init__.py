"""Statistics for few seeds: pure functions of arrays, chosen and checked by simulation.

Modules:

- ``array``: the type of arrays.
- ``bounded``: the difference of two averages of a column whose range has two ends.
- ``counts``: runs that learnt or did not: learning probabilities, their difference and its test.
- ``groups``: notices whether runs fall into two groups, such as learnt and not learnt.
- ``levels``: the difference of two means with its interval; pairing by seed.
- ``looks``: several looks at the same growing sample.
- ``outcomes``: a permutation test of values against outcomes that were not assigned.
- ``permutation``: exact permutation tests and the least p that few seeds can give.
- ``ranks``: rank tests within cells, of values of which some are only bounded.
- ``robust``: interquartile means and the probability of improvement, from ten seeds.
- ``scales``: the scale on which values are averaged, so that an interval stays in its range.
- ``survival``: steps that some runs did not reach, up to a common horizon.
"""
