"""The transformer family and its sites. A model knows one run, never a run axis.

- ``transformer``: the decoder-only transformer, top to bottom
- ``block``: attention and MLP with their residual paths
- ``attention``: multi-head attention
- ``mlp``: the position-wise MLP
- ``logits``: temperature and bias of attention scores
- ``bigram``: a table of vocabulary by vocabulary
- ``thinker``: a memory that reads, thinks and is read
- ``user``: a user's own module as a model
- ``base``: the interface of models
- ``parts``: the interfaces of small parts
- ``roles``: what parameters and parts declare about themselves
- ``build``: a model from its configuration
- ``initial``: initial parameters, drawn on the CPU
- ``forward``: one forward pass: sites, noise, kernels
- ``interventions``: reads and replaces tensors at sites
- ``site_names``: names of sites
- ``generate``: generation
- ``flex``: fused kernels for other activations than softmax

Settings, without torch: ``config``, ``attention_config``, ``bigram_config``, ``block_config``,
``mlp_config``, ``thinker_config``, ``transformer_config``, ``user_config``.
``activations/``, ``attention_activations/``, ``norms/`` and ``positions/`` have a file per variant.
"""
