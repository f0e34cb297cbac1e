"""Doing it: the plan, and the processes that carry it out and resume it."""
