"""Rules for every test of the project."""

from __future__ import annotations

from hypothesis import settings

# A slow machine is no fault of the code, and the same tree gives the same verdict twice.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
