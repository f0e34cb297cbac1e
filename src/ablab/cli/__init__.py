"""The commands. Each imports the packages it needs when it runs, so that ``--help`` is fast."""
