"""The live page: the logbook, the runs and the curves of a store, read while it trains."""
