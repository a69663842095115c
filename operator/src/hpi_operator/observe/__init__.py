"""Observation: the cluster as passes see it, from pictures kept by list and watch, and a few reads."""
