"""Claims of logbooks, compared with our results.

- ``further``: verdicts on claims by more evidence than the usual size has.
- ``of_recipes``: the claims of recipes with their verdicts, as a table and a page.
- ``prices``: what it would cost to decide claims at a larger size.
- ``shipped``: the results that ablab ships, for those who have no store yet.
"""
