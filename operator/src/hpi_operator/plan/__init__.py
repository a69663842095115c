"""Decisions: pure functions from what was observed to what should be; no I/O, no clock, no randomness."""
