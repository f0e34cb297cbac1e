"""Training on several machines: what does not depend on the engine that connects them.

The command owns the store's index, and no other machine opens it. On every machine, agents train
one claim at a time, each in a process of its own with a store of its own, and what that store gets
travels to the command as shipments (:mod:`ablab.store.shipments`).

- ``agent``: trains claims on a machine, and hands out what was made.
- ``choice``: which stack a machine begins next, by the machines' paces.
- ``driver``: lends stacks to agents and publishes what they send.
- ``lending``: which stacks are left to lend, and to whom.
- ``machines``: the interface of what connects a command with the agents of its machines.
- ``member``: an agent as the command sees it.
- ``messages``: what a command and its agents tell each other.
- ``parcel``: users' modules, corpora and tokenizers, which travel with a command.
- ``process``: the training process of an agent.
- ``roster``: the agents that work for a command.
- ``training_process``: the main function of the process in which an agent trains.
- ``unlike_devices``: cores and GPUs in one cluster.
- ``versions``: what has to be equal on all machines.
"""
