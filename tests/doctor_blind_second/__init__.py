"""A second set of planted bugs and healthy code, of kinds that the first set lacks.

Written after the doctor's invariances, and committed before the doctor was run on it.

- ``cases``: models and tasks with one mistake each, and healthy ones
- ``registry``: ``BUGS`` and ``HEALTHY``
"""
