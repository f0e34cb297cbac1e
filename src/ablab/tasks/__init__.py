"""Tasks: sources of batches, each batch a pure function of (seed, step).

- ``base``, ``config``: the base classes of tasks and of their configurations, the registry
- ``addition``, ``modular``, ``recall``, ``sequences``, ``text``: the tasks, each with a
  module of settings that does not import torch: ``addition_config``, ``modular_config``,
  ``recall_config``, ``sequences_config``, ``text_config``
- ``contrasts``: pairs of samples that differ in a factor
- ``corpora``: texts, found on this machine or downloaded
- ``factors``: named labels of samples
- ``groups``: the cyclic groups in which tasks add
- ``polynomial``: the operations of modular arithmetic
- ``probe``: the samples on which models are looked at, with their labels
- ``provided``: texts that another machine has sent
- ``random``: counter-based random numbers
- ``scores``: measures shared by several tasks
- ``split``: holding samples out by a hash of their content
- ``subwords``: subword tokenizers
- ``text_parts``: the parts of a text to train on and to hold out
"""
