"""The shipped experiments, reached as resources, and the modules that some of them name."""
