"""Models whose computation is known, because their weights are written by hand.

They are the ground truth for analyses: each function builds a small transformer of ablab and
returns it with the task that it solves and its planted facts. Every function takes a ``scale`` on
which no fact about the logits depends, a ``norm`` that is accounted for, ``bias`` and a ``seed`` of
everything that is arbitrary, such as the basis of the residual stream.

- ``stream``: the residual stream with named coordinates, in which the models are written
- ``modular``: the trigonometric modular adder, and its controls
- ``positions``: modular adders with known positional embeddings
- ``induction``: an induction head
- ``token_heads``: a previous-token head, and a duplicate-token head
- ``digits``: a digit adder with the carry in one neuron
- ``idle_parts``: heads, an MLP and a skip path with and without effect
- ``patterns``: expected attention patterns
- ``settings``: the scales, norms and biases with which the models are tested
- ``tasks``: the tasks of ``token_heads`` and ``idle_parts``
"""
