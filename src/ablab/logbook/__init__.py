"""Entries: what was asked, how it was run, and what came out, with the evidence."""
