"""The commands. Each imports the packages it needs when it runs, so that ``--help`` is fast.

- ``main``: the command group and exit codes
- ``common``: options and output shared by all commands
- ``train``: ``run``
- ``show``: ``recipes``, ``runs``, ``show`` and ``metrics``
- ``read``: ``read`` and ``expect``
- ``logbook``: ``logbook`` and ``note``
- ``tuning``: the table of what tuning found
- ``export``: ``export`` and ``figure``
- ``pack``: ``pack`` and ``unpack``
- ``analyses``, ``analyze``, ``check``, ``claims``, ``compare``, ``data``, ``doctor``, ``effects``,
  ``generate``, ``new``, ``plan``, ``replay``, ``serve``, ``settle``: the command of the same name
"""
