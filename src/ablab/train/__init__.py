"""Training: stacks, steps, optimizers, schedules, stopping. No other room has a run axis (R).

- ``loop``: trains a stack to its last step; checkpoints, stop rules, observers
- ``stack``: runs of equal shape trained as one
- ``template``: one model for all runs of a stack
- ``advance``: what some steps of a stack have given
- ``step_calls``: what a step calls: gradients, then an update
- ``parameter_update``: clipping and the optimizer's update
- ``cuda_graphs``: replays a step's calls as CUDA graphs
- ``run_state``: the state of one run after a step
- ``callbacks``: calls users' functions after some steps
- ``run``: a run as training sees it
- ``method``: how gradients are computed
- ``gradients``: losses and gradients of all runs, eagerly and in parts
- ``compiled_gradients``: losses and gradients as one compiled program per shape
- ``comparison``: compares a method with eager training of each run alone
- ``mixing``: whether the samples of a batch see each other
- ``compiling``: compiles functions of tensors
- ``stored_kernels``: kernels of compiled programs by their source, for other programs
- ``stored_programs``: compiled programs by what defines them, for later commands
- ``innermost``: runs a function traced for one sample on a batch, which is the last axis
- ``objective``: one run's loss and measures
- ``losses``: the loss of a batch
- ``evaluation``: the loss and the measures of runs on a held-out batch
- ``by_factor``: the loss and accuracy of runs by the factors of samples
- ``precision``: how products in float32 are computed on CUDA
- ``kernels``: attention with the run axis folded into the batch
- ``taps``: reads tensors at sites during forward and backward passes
- ``full_sequence``: taps of all positions in a pass that skips some
- ``collector``: the interface through which a stack's statistics are computed
- ``prefetch``: the inputs of steps, prepared ahead
- ``batches``: tokens, targets and dropout words of steps
- ``dropout``: random words for dropout
- ``step_scalars``: the optimizer's numbers for each step
- ``schedules``: learning-rate schedules
- ``optimizer``: the interface of optimizers
- ``optimizer_config``: the settings and the registry of optimizers
- ``torch_optimizer``: any optimizer of the torch.optim interface, for one run
- ``optimizer_trial``: whether such an optimizer follows the learning rate and can resume
- ``parameter_layout``: a model's parameters as one flat row
- ``recovery``: returns a run to its best state when its loss jumps
- ``stopping``: stop rules
- ``log_steps``: which steps are logged
- ``timings``: seconds of each phase of a step
- ``host``: transfers from device to host
- ``config``, ``schedule_config``, ``loss_config``, ``callback_config``: settings of training
- ``at_steps_config``: settings of what is done at some steps

``optimizers/`` has a file per optimizer.
"""
