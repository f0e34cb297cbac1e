"""Claims of logbooks, compared with our results.

- ``further``: verdicts on claims by more evidence than the usual size has.
- ``of_recipes``: the claims of recipes with their verdicts.
- ``page``: the page of claims.
- ``prices``: what it would cost to decide claims at a larger size.
- ``shipped``: the results that ablab ships, for those who have no store yet.
"""
