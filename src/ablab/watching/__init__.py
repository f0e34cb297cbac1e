"""Watching: statistics of every tensor of a step, captures, and a flight recorder."""
