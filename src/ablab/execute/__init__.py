"""Execution: planning, training the runs of an experiment, resuming and replaying them.

Modules:

- ``accuracy``: how accurate estimates are.
- ``balance``: divides stacks among processes.
- ``cluster``: training on several machines.
- ``cost``: counts the arithmetic, memory and kernel launches of a training step.
- ``deaths``: deaths of processes that train.
- ``device``: devices and their memory.
- ``division``: divides a group's runs into stacks, and estimates their time.
- ``early_stops``: foresees where stop rules will end runs.
- ``environment``: versions and hardware, for the logbook entry.
- ``errors``: errors of runs and of processes.
- ``estimate``: estimated durations with their ranges.
- ``executor``: the interface of executors.
- ``executors``: the shipped executors, one per file.
- ``group``: groups of runs of equal shape, and the methods that could train them.
- ``guest``: restores settings of the program that calls ablab.
- ``machine``: what determines the speed of this machine.
- ``measurements``: the file of measured speeds, which several processes change.
- ``memory``: settings of the C library's allocator.
- ``method_choice``: chooses the method that trains a group of runs.
- ``new_runs``: why runs of an experiment are new.
- ``notebook_status``: progress in a Jupyter or marimo notebook.
- ``observers``: attaches statistics, captures and the flight recorder to a stack.
- ``options``: the user's options, such as device, engine and workers.
- ``orchestrate``: runs an experiment from its checks to its last checkpoint.
- ``own_parts``: tries users' parts before anything is written.
- ``pause``: pauses on SIGINT and SIGTERM.
- ``plan``: stacks, methods and the number of processes.
- ``plan_text``: a plan in words.
- ``planned``: the plan of an experiment, to be read.
- ``progress``: reports what happens while an experiment is trained.
- ``queue``: the queue of stacks that processes claim.
- ``replay``: trains steps of a stored run again, with more statistics.
- ``replay_report``: what a replay found.
- ``resume``: the states that stored runs continue from.
- ``rounds``: trains in rounds, where what comes next depends on what was found.
- ``samples``: generates samples of texts when training ends.
- ``setup``: sets up a claimed stack for training.
- ``speeds``: measured and estimated speeds of this machine.
- ``status``: a line on standard error that says what is being done.
- ``stop_rules``: applies stop rules to stored steps.
- ``time_left``: the time left while an experiment is trained.
- ``tune``: trains trials, and then each variant with its best settings.
- ``usage``: memory and load of a training process.
- ``verify``: checks that a method agrees with the eager one and is fast enough.
- ``worker``: the main function of a worker process.
"""
