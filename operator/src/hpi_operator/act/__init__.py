"""Performing a plan: what differs is written, what must go is deleted, what happened is told."""
