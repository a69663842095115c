"""The kinds of the group `hpi.paddlex.io`, as pydantic models."""
