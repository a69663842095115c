"""Locked environments in the store, each with an interpreter of its own."""
