"""Builders: the objects of one pipeline as plain dictionaries, every field that is meant and no other."""
