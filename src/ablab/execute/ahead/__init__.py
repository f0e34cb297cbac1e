"""Compiling ahead: idle cores compile the programs of stacks before these need them.

Compiler processes go through the programs of a plan in the order of its stacks and leave them in
torch's cache. A stack whose program is not there yet trains eagerly until it is, unless the user
chose the method. So what compiles changes nothing, and when it is done decides only where the
method of a stack changes, which is stored with its runs.

- ``compiler_process``: the main function of a compiler process.
- ``compilers``: starts the compiler processes of a command.
- ``exchange``: the folder through which training processes and compilers tell each other.
- ``programs``: the programs of stacks, and which of them are stored.
"""
