"""Planted bugs and healthy code, written without reading the checks of the doctor.

- ``parts``: correct blocks and models, which the planted bugs change, and the records
- ``bugs_*``: models and tasks with one realistic mistake each, with its true cause
- ``healthy_*``: correct models and tasks
- ``registry``: ``BUGS`` and ``HEALTHY``
"""
