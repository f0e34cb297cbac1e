"""A third set of planted bugs and healthy code, written without reading the doctor's checks.

- ``attention_parts``: correct transformers, mostly of ``torch.nn`` modules
- ``recurrent_parts``: correct linear attention, state-space, convolutional and recurrent models
- ``bugs_attention``, ``bugs_recurrent``: the same models with one mistake each
- ``task_parts``, ``bugs_tasks``: two correct tasks, and the same with one mistake each
- ``registry``: ``BUGS`` and ``HEALTHY``
- ``test_blind_third_data``: each case runs, and each mistake changes what its sibling does
"""
