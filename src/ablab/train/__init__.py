"""Training: stacks, steps, optimizers, schedules, stopping. The run axis R is here alone.

- ``loop``: trains a stack to its last step; checkpoints, stop rules, observers
- ``stack``: runs of equal shape trained as one
- ``run``: a run as training sees it
- ``method``: how gradients are computed
- ``gradients``: losses and gradients of all runs, eagerly and in parts
- ``compiled_gradients``: the same as one compiled program per shape
- ``compiling``: compiles functions of tensors
- ``innermost``: runs a traced sample with the batch as the last axis
- ``objective``: one run's loss and measures
- ``losses``: the loss of a batch
- ``kernels``: attention with the run axis folded into the batch
- ``taps``: reads tensors at sites during a step
- ``full_sequence``: shows taps all positions where a pass skips some
- ``collector``: the interface of what takes statistics at each step
- ``prefetch``: the inputs of steps, prepared ahead
- ``batches``: tokens, targets and dropout words of steps
- ``dropout``: random words for dropout
- ``step_scalars``: the optimizer's numbers for each step
- ``schedules``: learning-rate schedules
- ``optimizer``: the interface of optimizers
- ``optimizer_config``: their settings and registry
- ``torch_optimizer``: any optimizer of the torch.optim interface, for one run
- ``parameter_layout``: a model's parameters as one flat row
- ``recovery``: returns a run to its best state when its loss jumps
- ``stopping``: stop rules
- ``log_steps``: which steps are logged
- ``timings``: seconds of each phase of a step
- ``host``: the one transfer from device to host
- ``config``: settings of training

``optimizers/`` has a file per optimizer.
"""
