"""Models and their sites. A model handles a single run and has no run axis.

- ``transformer``: the decoder-only transformer
- ``block``: attention and MLP with their residual paths
- ``attention``: multi-head attention
- ``mlp``: the position-wise MLP
- ``logits``: temperature and bias of attention scores
- ``bigram``: a table of vocabulary × vocabulary logits
- ``thinker``: a sequence-to-sequence model with a memory
- ``user``: a user's own module as a model
- ``base``: the interface of models
- ``parts``: the interfaces of activations, norms and positions
- ``find_position``: the classes of position encodings
- ``norm``: creates norms from their settings
- ``roles``: what parameters and parts declare about themselves
- ``unregistered``: finds tensors and modules that are not registered with a model
- ``build``: builds a model from its configuration
- ``initial``: draws initial parameters
- ``forward``: the state of a forward pass: taps, dropout noise, kernels, cache
- ``interventions``: reads and replaces tensors at sites
- ``site_names``: names of sites
- ``generate``: generates tokens
- ``flex``: fused attention with activations other than softmax
- ``torch_internals``: the private parts of torch, which no other module names
- ``joint_kernels``: the kernels of a compiled program as one C++ file

Settings, without torch: ``config``, ``attention_config``, ``bigram_config``, ``block_config``,
``initial_config``, ``mlp_config``, ``thinker_config``, ``transformer_config``, ``user_config``.
``activations/``, ``attention_activations/``, ``norms/`` and ``positions/`` have a file per variant.
"""
