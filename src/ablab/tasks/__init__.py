"""Tasks: sources of batches, each batch a pure function of (seed, step).

- ``base``, ``config``: the base classes of tasks and of their configurations, the registry
- ``addition``, ``modular``, ``recall``, ``sequences``, ``text``: the tasks, each with a
  ``*_config`` module that does not import torch
- ``corpora``: texts, found on this machine or downloaded
- ``polynomial``: the operations of modular arithmetic
- ``random``: counter-based random numbers
- ``scores``: measures shared by several tasks
- ``split``: holding samples out by a hash of their content
- ``subwords``: subword tokenizers
"""
